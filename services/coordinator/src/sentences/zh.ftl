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

## Why a change of an account was refused or waits, where that is said otherwise than of a deletion

CHANGE_LEGAL_HOLD = 因法律保全要求，该账号须保持现状。
    .remedy = 保全解除之前不能进行此项变更。客服可告知您向谁咨询。
CHANGE_UNKNOWN = 有一项阻碍办理的情况，相关服务只提供了代码。
    .remedy = 请联系客服，并告知该代码。
NO_REAL_NAME = 该账号没有实名信息。
    .remedy = 无需操作，没有可清除的内容。
DEVICE_REFUSED = 设备不同意解绑，并且只提供了代码。账号侧的绑定已经解除。
    .remedy = 请重试。如仍被拒绝，请将设备送至维修点并告知该代码。
EXPORT_TIMED_OUT = 有一项服务未能及时提供您的数据，因此没有生成导出文件。
    .remedy = 请稍后重新导出。
EXPORT_TOO_LARGE = 您的数据超出了单个导出文件的上限。
    .remedy = 请联系客服获取副本。

## Why a request was not carried out

MESSAGE_TOO_LARGE = 应用发送的内容过大，未做任何更改。
    .remedy = 请更新应用或联系客服。
PAGE_TOKEN_MISMATCH = 该页属于另一个列表。
    .remedy = 请从第一页重新开始。
FACTOR_NOT_REQUIRED = 此处不需要这项验证。
    .remedy = 请完成页面要求的验证。
OFFSET_OUT_OF_RANGE = 导出文件没有这么长。
    .remedy = 请从头下载。
EMPTY_PLAN = 您所在的地区不提供此项服务。
    .remedy = 请联系客服。
NOT_A_CALLER = 该应用无权提出此请求。
    .remedy = 请使用手机设置或账号中心，或联系客服。
NOT_A_CELL = 该应用无权代他人提出请求。
    .remedy = 请使用手机设置或账号中心，或联系客服。

LEDGER_UNAVAILABLE = 暂时无法办理，您的数据没有丢失。
    .remedy = 请稍后重试。
LEDGER_REFUSED = 无法办理。
    .remedy = 请重试。如仍不成功，请联系客服。
IDENTITY_UNAVAILABLE = 账号服务暂时没有答复，您的数据没有丢失。
    .remedy = 请稍后重试。
STORE_UNREACHABLE = 商城暂时没有答复，您的数据没有丢失。
    .remedy = 请稍后重试。
LINE_UNREACHABLE = 设备服务暂时没有答复，您的数据没有丢失。
    .remedy = 请稍后重试。
CUSTODIAN_UNREACHABLE = 数据导出服务暂时没有答复，您的数据没有丢失。
    .remedy = 请稍后重试。
CELL_UNREACHABLE = 可能知晓此事的地区暂时没有答复。
    .remedy = 请稍后重试。
PARTICIPANT_AWAY = 该服务不在线。
    .remedy = 请在其恢复后重试。
ACCOUNT_BUSY = 该账号正在进行其他变更。
    .remedy = 请稍后重试。
DRAINING = 暂时无法办理，您的数据没有丢失。
    .remedy = 请稍后重试。
CALLER_TOO_FAST = 短时间内的请求过多。
    .remedy = { $ends ->
        [known] 请在{ $until }之后重试。
       *[other] 请一分钟后重试。
    }
TOO_MANY_WATCHERS = 当前查看的人数过多。
    .remedy = 请稍后重试。
WATCHER_TOO_SLOW = 网络连接过慢，无法继续。
    .remedy = 请重新打开页面。
TOO_MANY_DOWNLOADS = 当前下载的人数过多。
    .remedy = 请稍后重试，下载会从中断处继续。
REPLAY_RUNNING = 此项操作已在进行中。
    .remedy = 请等待其结束。

CODE_TOO_SOON = { $ends ->
        [known] 暂时不能再发送验证码。
       *[other] 验证码刚刚已发送。
    }
    .remedy = { $ends ->
        [known] 请在{ $until }之后重新获取。
       *[other] 请查收，包括垃圾邮件。一分钟后可以重新获取。
    }
NO_ADDRESS = 无法向该处发送验证码。
    .remedy = 请使用其他方式，或联系客服。
LINKS_UNAVAILABLE = 此处不发送链接。
    .remedy = 请改用验证码。
WRONG_PROOF = 验证码、链接或密码不正确。
    .remedy = 请核对后重试，或重新获取验证码。
PROOF_EXPIRED = 验证码或链接已失效：可能已过期、已使用，或已有更新的。
    .remedy = 请重新获取。
TOO_MANY_TRIES = 错误次数过多，为保护账号，暂不再接受验证。
    .remedy = { $ends ->
        [known] 请在{ $until }之后重试。如果不是您本人操作，请修改密码。
       *[other] 请重新获取验证码，或稍后重试。如果不是您本人操作，请修改密码。
    }
CONSENT_MISSING = 还有内容需要您先同意。
    .remedy = 请阅读需要同意的内容，并逐项同意。

ACCOUNT_HAS_LIVE_DELETION = 该账号的注销已在进行中。
    .remedy = 请查看该注销的进度，或在仍可撤回时撤回。
DELETION_NOT_FOUND = 没有这项注销。
    .remedy = 请核对是哪一项。
PAST_NO_RETURN = 删除已经开始，不能再撤回。
    .remedy = 无需操作。您可以查看进度直到结束。
ALREADY_ENDED = 该注销已经结束。
    .remedy = 请查看结果。如有需要，可重新申请。
ILLEGAL_STATE = 目前不能进行此操作。
    .remedy = 请查看进度，并按要求操作。
SEAL_OUTSTANDING = 账号仍在准备中。
    .remedy = 请稍后重试。
COOLING_OFF = 可撤回的期限尚未结束。
    .remedy = 请等待期限结束。
NOT_ELIGIBLE = 存在阻碍注销的情况。
    .remedy = 请查看具体情况及解决办法。
HELD = 因法律保全要求，注销已暂停。
    .remedy = 保全解除之前不能删除任何数据。客服可告知您向谁咨询。
LEGS_OUTSTANDING = 尚未全部删除。
    .remedy = 请等待，流程会自动继续。
NOT_PURGED = 注销尚未完成，因此还没有证明。
    .remedy = 请在全部删除后再获取。
BLOCKER_NOT_IN_THE_WAY = 此项目前不阻碍注销。
    .remedy = 请查看阻碍注销的情况。
BLOCKER_NOT_OVERRIDABLE = 任何人都不能豁免此项。
    .remedy = 只能等其消除，请查看解决办法。
OVERRIDE_BY_LEGAL_ONLY = 只有法务部门可以豁免此项。
    .remedy = 客服可告知您向谁咨询。
TOO_MANY_OVERRIDES = 该注销不能再豁免其他情况。
    .remedy = 请联系客服。
DEADLINE_NOT_EXTENDABLE = 该地区的期限不能延长。
    .remedy = 期限保持不变。
DEADLINE_ALREADY_EXTENDED = 期限已经延长过一次。
    .remedy = 期限保持不变。
REFUSED_DEADLINE_PASSED = 期限已过，不能再延长。
    .remedy = 期限保持不变。

CASE_NOT_APPROVED = 客服尚未批准该案件。
    .remedy = 请等待批准。
CASE_NOT_REJECTED = 客服尚未驳回该案件。
    .remedy = 请先说明理由并驳回。
CASE_EXPIRED = 批准未在期限内使用。
    .remedy = 请重新立案。
CASE_USED = 该批准已用于其他事项。
    .remedy = 请重新立案。
CASE_NOT_FOR_THIS = 该案件批准的是其他事项。
    .remedy = 请为此事项立案。

ACCOUNT_NOT_FOUND = 该账号不存在。
    .remedy = 请核对账号。
ACCOUNT_CHANGE_NOT_FOUND = 该账号没有这项变更。
    .remedy = 请核对是哪一项。
FORWARD_LOOP = 无法确定该账号属于哪个地区。
    .remedy = 请联系客服。
ACCOUNT_NOT_FROZEN = 您没有冻结该账号。
    .remedy = 无需操作。如果无法登录，请联系客服。
ACCOUNT_NOT_MEMORIALIZED = 该账号不是纪念账号。
    .remedy = 无需操作。
REAL_NAME_CLEARING_OPEN = 实名信息的清除已在进行中。
    .remedy = 请查看其进度。
TOO_MANY_ACCOUNT_CHANGES = 该账号同时进行的变更过多。
    .remedy = 请等待其中一些完成。

UNBINDING_NOT_FOUND = 该账号没有正在解绑的这台设备。
    .remedy = 请查看您的设备。
LINE_REFUSED = 设备未能解绑。
    .remedy = 请联系客服。
SELF_SERVICE_CLOSED = 该账号的设备只能由客服或维修点解绑。
    .remedy = 请联系客服，或将设备送至维修点。

EXPORT_NOT_FOUND = 没有这项数据导出。
    .remedy = 请重新导出。
EXPORT_NOT_READY = 导出文件不存在或尚未生成。
    .remedy = 请等待生成。如已失效，请重新导出。
REFUSED_EXPORT_RUNNING = 账号数据已在导出中。
    .remedy = 请等待完成，或取消该导出。
TOO_MANY_EXPORTS = 当前导出的人数过多，或您一个月内的导出次数过多。
    .remedy = 请稍后重试。
ARCHIVE_CHANGED = 导出文件在此期间已重新生成。
    .remedy = 请从头下载。
ARCHIVE_DAMAGED = 导出文件已损坏，不能提供其中内容。
    .remedy = 请重新导出。
ARCHIVE_KEY_UNKNOWN = 导出文件目前无法打开。
    .remedy = 请联系客服，或重新导出。
CUSTODIAN_REFUSED = 未能导出您的数据。
    .remedy = 请联系客服。

TO_ACCOUNT_NOT_FOUND = 要转入的账号不存在。
    .remedy = 请核对账号。
TO_ACCOUNT_SEALED = 要转入的账号正在注销。
    .remedy = 请选择其他账号。
TO_ACCOUNT_FROZEN = 要转入的账号已被冻结。
    .remedy = 请先解冻该账号，或选择其他账号。
TO_ACCOUNT_MEMORIALIZED = 要转入的账号为已故用户的纪念账号。
    .remedy = 请选择其他账号。
ORDER_IN_TRANSIT = 有订单仍在途中。
    .remedy = 请在全部送达或取消后再转移订单。
ORDER_DISPUTED = 有订单存在纠纷。
    .remedy = 请在纠纷解决后再转移订单。
BALANCE_TOO_LARGE = 两个账号的合计超过了单个账号的上限。
    .remedy = 请先使用一部分。
NOTHING_TO_TRANSFER = 该账号没有可转移的此类资产。
    .remedy = 无需操作。

IDENTIFIER_IN_USE = 该号码、邮箱或用户名正被一个账号使用。
    .remedy = 无需操作，它未被保留。
