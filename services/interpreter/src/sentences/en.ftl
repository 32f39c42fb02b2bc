# Why a request was not carried out, where more than one port says so, for the person who asked: by the reason of the error. The value
# says what is so, the attribute `.remedy` what to do about it.
#
# $ends: `known` if it ends by itself, and then $until says when. Sentences hold nothing personal.
#
# Where a port says the same code of something else in another sentence, the one here is REFUSED_ and the reason.

INVALID_FIELD = The app sent something that we could not use. Nothing was changed.
    .remedy = Try again. If that does not help, update the app, or tell support.
REQUEST_ID_REUSED = The app sent two requests under one number. The second was not carried out.
    .remedy = Ask again.
EPOCH_MISMATCH = The device was bound anew in the meantime.
    .remedy = Look at your devices, and ask again.
DESK_UNAVAILABLE = The support desk’s system gives no answer just now. Nothing was lost.
    .remedy = Try again in a moment.
DEADLINE_EXCEEDED = That took too long. It may have been carried out.
    .remedy = Look before you ask again.
NOT_IN_HAND = The device did not show that it is in hand.
    .remedy = Unlock it, keep it connected, and begin again.
NO_ANSWER_KEY = This device cannot show that it is in hand.
    .remedy = Use another device of the account, or ask support.
DEVICE_LOST = The device is reported lost or stolen.
    .remedy = If you have it again, report it as found first.
CASE_NOT_FOUND = The support desk has no such case of this account.
    .remedy = Check the case’s number.
ACCOUNT_ELSEWHERE = The account belongs to another region.
    .remedy = Ask there.
HOME_UNKNOWN = We cannot look the account up just now. Nothing was changed.
    .remedy = Try again in a moment.
ACCOUNT_SEALED = The account is being deleted.
    .remedy = Take the deletion back first, while it can be.
REFUSED_ACCOUNT_FROZEN = The account is frozen.
    .remedy = If you froze it, unfreeze it first. Otherwise ask support.
BINDING_NOT_FOUND = The account has no such device.
    .remedy = Look at your devices, and ask again.
HAS_CHILDREN = Other devices are still connected by this one.
    .remedy = Unbind those first.
TO_ACCOUNT_ELSEWHERE = The account to move it to belongs to another region, where nothing can be moved to.
    .remedy = Choose another one.
