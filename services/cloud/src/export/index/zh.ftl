# What a person reads who opens an archive. Nothing personal: names of files stand beside these sentences.

title = 您的账号数据
made = 本副本申请于 { $time }。
promise = 申请时已有且在导出完成前未变更的数据均包含在内。导出期间变更的数据可能是变更前或变更后的版本。
nothing = 此处没有您的数据。
amount = { $items } 项，{ $files } 个文件，{ $size }
more = 文件夹“{ $folder }”中还有 { $files } 个文件。
left-out = 本副本不包含密码、验证码等用于证明身份的信息，以防外泄；也不包含设备备份，只有设备自身才能读取备份。
check = manifest.json 列出了每个文件的大小和 SHA-256 值。
of-cloud = 云服务：照片、联系人和备忘录
of-community = 社区：帖子和评论
of-identity = 账号与个人资料
of-phones = 手机与平板
of-smarthome = 智能家居
of-store = 商城：订单与权益
of-wearables = 手表与穿戴设备
