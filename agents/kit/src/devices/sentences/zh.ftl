# As en.ftl.

DEVICE_BOUND = 该设备已绑定其他账号。
    .remedy = 请原使用者先将设备从其账号中移除。
DEVICE_LOCKED = 该设备仍被其他账号的激活锁锁定。
    .remedy = 请原使用者先将设备从其账号中移除。
NOT_SHAREABLE = 该设备不能与此账号共享。
    .remedy = 请选择其他家庭成员的账号。
ROLE_NOT_ALLOWED = 此应用无权进行该操作。
    .remedy = 请使用手机设置或账号中心，或联系客服。
STORE_UNAVAILABLE = 设备服务暂时无法办理，您的数据没有丢失。
    .remedy = 请稍后重试。
