# Why a device was not bound, shared or let go of, for the person who asked: by the reason of the error. The value says what is so, the
# attribute `.remedy` what to do about it. What other ports say as well stands in services/interpreter/src/sentences.

DEVICE_BOUND = The device belongs to another account.
    .remedy = Whoever had it before must remove it from their account first.
DEVICE_LOCKED = The device’s activation lock is on for another account.
    .remedy = Whoever had it before must remove it from their account first.
NOT_SHAREABLE = The device cannot be shared with this account.
    .remedy = Choose another account of the household.
ROLE_NOT_ALLOWED = This app may not ask for that.
    .remedy = Use the settings of your phone or the account centre, or ask support.
STORE_UNAVAILABLE = The service that knows your devices could not carry that out just now. Nothing was lost.
    .remedy = Try again in a moment.
