# As en.ftl. Chinese has one plural form.

## Nobody's in particular

UNKNOWN = 有一项阻碍注销的情况，相关服务只提供了代码。
    .remedy = 请联系客服，并告知该代码。
PARTICIPANT_UNREACHABLE = 有一项必须先询问的服务没有答复。
    .remedy = 您无需操作，系统会再次询问。
DELETION_ALREADY_RUNNING = 该账号的注销已在进行中。
    .remedy = 请查看该注销的进度，或在仍可撤回时撤回。

## Identity

UNKNOWN_ACCOUNT = 该账号不存在。
    .remedy = 请核对账号。
RECENT_PASSWORD_CHANGE = 密码近期修改过。
    .remedy = { $ends ->
        [known] 请等到{ $until }之后再试，以防他人刚得知您的密码就注销账号。
       *[other] 请过几天再试，以防他人刚得知您的密码就注销账号。
    }
RECENT_CONTACT_CHANGE = 绑定的手机号或邮箱近期修改过。
    .remedy = { $ends ->
        [known] 请等到{ $until }之后再试，以防他人刚换绑自己的手机号或邮箱就注销账号。
       *[other] 请过几天再试，以防他人刚换绑自己的手机号或邮箱就注销账号。
    }
RISK_CONTROL_LOCK = 账号因使用异常已被锁定。
    .remedy = 请先修改密码。
ACCOUNT_FROZEN = 账号已被冻结。
    .remedy = 请联系客服解除冻结。
ACCOUNT_MEMORIALIZED = 该账号为已故用户的纪念账号。
    .remedy = 亲属可携证明文件联系客服。
THIRD_PARTY_GRANTS = 仍有 { $count } 个第三方应用可以使用该账号。
    .remedy = 请在账号中心取消授权，并要求这些公司删除其持有的您的数据。
LEGAL_HOLD = 因法律保全要求，注销已暂停。
    .remedy = 保全解除之前不能删除任何数据。客服可告知您向谁咨询。
RETENTION_HELD = 账号已注销。因法律保全要求，依法留存的记录到期后仍须保留。
    .remedy = 保全解除后（或留存期届满后，以较晚者为准）这些记录将被清除。客服可告知您向谁咨询。
FRAUD_CASE = 该账号涉及 { $count } 起欺诈调查。
    .remedy = 请等待调查结束。客服可告知您向谁咨询。
GUARDIAN_OF_CHILD_ACCOUNT = 该账号是 { $count } 个儿童账号的监护人。
    .remedy = 请先将该儿童账号的监护人变更为另一位成年人，或先注销儿童账号。
CHILD_NEEDS_GUARDIAN = 这是儿童账号，监护人尚未同意。
    .remedy = 请您的监护人在其自己的账号中同意。

## Store

UNFINISHED_ORDER = 有 { $count } 个订单尚未送达。
    .remedy = 请等待送达，或在商城取消订单。
OPEN_DISPUTE = 有 { $count } 个订单存在纠纷。
    .remedy = 请与商城解决纠纷，或联系客服一并处理并注销账号。
WALLET_BALANCE = 钱包内还有余额。
    .remedy = 请先用完、提现到您的银行账户，或联系客服转移到其他账号。
DEBT_OR_CREDIT = 有 { $count } 笔欠款或信贷尚未结清。
    .remedy = 请在商城钱包中还清。
COUPONS_LEFT = 还有 { $count } 张优惠券未使用。
    .remedy = 请使用优惠券、在商城中放弃，或联系客服转移到其他账号；也可重新申请，并同意其随账号一并作废。
POINTS_LEFT = 还有 { $count } 积分未使用。
    .remedy = 请使用积分、在商城中放弃，或联系客服转移到其他账号；也可重新申请，并同意其随账号一并作废。
ACTIVE_SUBSCRIPTION = 有 { $count } 项订阅仍在生效。
    .remedy = 请在商城取消订阅，或联系客服转移到其他账号。
CAMPAIGN_ACTIVE = 您参加的 { $count } 项营销活动仍在进行。
    .remedy = { $ends ->
        [known] 请在商城退出活动，或等到{ $until }。
       *[other] 请在商城退出活动，或等待活动结束。
    }
SAFETY_OR_INSURANCE_CASE = 有 { $count } 个安全事件或保险理赔尚未结案。
    .remedy = 请等待结案，或向客服询问进度。
SUPPORT_TICKET_OPEN = 有 { $count } 个客服工单尚未处理完毕。
    .remedy = 请等待答复或撤回工单，注销后将无法答复您。

## The support desk

LEGACY_CASE_OPEN = 有亲属向客服反映该账号的持有人已去世，客服正在核实。
    .remedy = 如果您是账号本人，请联系客服。否则请等待客服处理完毕。
TRANSFER_OPEN = 有 { $count } 项资产转移到其他账号的申请尚未完成。
    .remedy = 请等待客服完成转移，或撤回申请：未转移的资产将随账号一并失去。

## Cloud

EXPORT_RUNNING = 正在为您导出账号数据。
    .remedy = { $ends ->
        [known] 请等待导出完成并下载。导出最迟于{ $until }完成或终止。您也可以取消导出。
       *[other] 请等待导出完成并下载。您也可以取消导出。
    }

## Community

COMMUNITY_BANNED = { $ends ->
        [known] 您已被社区封禁至{ $until }，但这不影响注销。
       *[other] 您已被社区封禁，但这不影响注销。
    }
    .remedy = 无需操作。只有客服可以解除封禁。

## Devices

DEVICES_BOUND = 仍有 { $count } 台设备绑定该账号，注销时会自动解绑，并可能清除设备上的数据。
    .remedy = 请先备份设备中的数据。您也可以提前远程解绑，无论设备在何处。
DEVICE_BOUND_UNREACHABLE = 有 { $count } 台设备已超过一天未联网。设备恢复联网后才会收到指令，在此之前其中的数据仍会保留。
    .remedy = 如果设备在您身边，请现在开机并联网。
DEVICE_IN_LOST_MODE = 有 { $count } 台设备已报失，注销后激活锁仍会保留。
    .remedy = 如果设备已找回，请先取消报失：注销后任何人都无法以您的名义解锁。
SOLE_ADMIN_OF_SHARED_HOME = 有 { $count } 台与他人共用的设备只有您一位管理员。注销后他们仍可使用，但无人能够管理。
    .remedy = 请先将其中一位成员设为管理员，与管理员共用的设备会转交给对方。

## Why a deletion is late, for the person it is about

LATE_OWED = { $who ->
        [phones] 您的手机尚未全部确认完成重置。
        [wearables] 您的手表尚未全部确认完成重置。
        [smarthome] 您家中的设备尚未全部确认完成解绑。
       *[other] 我们的一项服务尚未确认数据已全部删除。
    }
    .remedy = { $who ->
        [phones] 请将手机开机并联网，我们会继续尝试。
        [wearables] 请在手机附近打开手表，我们会继续尝试。
        [smarthome] 请让设备联网，我们会继续尝试。
       *[other] 您无需任何操作，我们会继续处理。
    }
LATE_DISPUTED = 我们的一项服务未能自动删除全部数据。
    .remedy = 您无需任何操作，工作人员正在处理。
LATE_WAITING = 删除尚未开始。
    .remedy = 您无需任何操作，流程会自动继续。

## A deletion under way

EVIDENCE_CONFLICT = 某参与方对同一指令给出了两种答复。
    .remedy = 请比对证据并作出决定。
RESIDUE_AGAIN = 该参与方多次擦除后仍持有数据。
    .remedy = 请查明是什么在写入数据，然后重新下达指令。
LEG_REFUSED = 该参与方拒绝执行指令。
    .remedy = 请排除原因，然后重新下达指令。
LEG_OWED = 该参与方尚未确认指令。
    .remedy = 请检查该参与方自己的队列。
PARTICIPANT_NOT_CONNECTED = 该参与方未连接。
    .remedy = 请启动该参与方，并检查其证书和协调器地址。
DEADLINE_PASSED = 已超过期限。
    .remedy = 请向用户说明原因。
DEADLINE_NEAR = 期限将至。
    .remedy = 请查明哪一方尚未完成。
