# Letters to the owner of an account: by kind, the value being the subject and `.text` what a text message begins with, too.
#
# $until: when it can't be taken back any more. $deadline: when it must be complete. $deletion: its number. $link: the link.
# $code and $minutes: see below. No other variable exists: a letter holds no name, and nothing of what is in the account.

WAITING = Your account is to be deleted: something is still missing
    .text = Somebody has asked to delete your account and has shown a code or password of it. Nothing is deleted yet: something is in the way, or more has to be shown.
SEALED = Your account is going to be deleted
    .text = We were asked to delete your account. It can't be used any more, and until { $until } it can be taken back. After that its data is erased and its devices are unbound and reset. All is done by { $deadline }.
REMINDER = Your account is deleted soon
    .text = The deletion of your account can be taken back until { $until }. After that nothing brings it back.
BLOCKED = The deletion of your account has to wait
    .text = The time to take the deletion back is over, but something new is in the way. It goes on once that is settled.
ERASING = Your account is being erased
    .text = The deletion of your account has begun and can't be taken back. All is done by { $deadline }. This is the last message, as your number and address are erased, too. You can have the certificate of the deletion by its number: { $deletion }.
EXTENDED = The deletion of your account takes longer
    .text = The deletion of your account takes longer than we said: it is done by { $deadline }.
OVERDUE = The deletion of your account is late
    .text = The deletion of your account should have been done by { $deadline }. It goes on, and we know what holds it up. You may complain to your data protection authority.
REVOKED = Your account stays
    .text = The deletion of your account was taken back. Everything is as it was.
DENIED = Your account is not deleted
    .text = The request to delete your account was refused. Everything is as it was, and you can ask again. If you object, tell support, who look at it anew; you may also complain to your data protection authority.
EXPIRED = Your account is not deleted
    .text = The request to delete your account has expired, as something was missing until the end. Everything is as it was. You can ask again.
MEMORIALIZED = Your account is kept in memory
    .text = We were told that the owner of this account has died. Everything in it is kept as it is, and nobody can log in any more. If that is a mistake, ask support: they take it back, and nothing is lost.
UNMEMORIALIZED = Your account is kept in memory no longer
    .text = That the owner of this account had died was a mistake, and is taken back. Nothing is lost. The account stays frozen until you end that in the account centre, with a code or your password. If you didn't ask for this, tell support at once.

REVOKE_BY_LINK = You don't want that, or it wasn't you? Take it back here, without logging in: { $link }
REVOKE_BY_LOGIN = You don't want that, or it wasn't you? Take it back in the account centre or ask support, and change your password.

## Why a deadline was extended

COMPLEXITY = What has to be erased is complex, for instance because devices are away.
NUMBER_OF_REQUESTS = Many requests came at the same time.

## Why a request was refused

DOCUMENTS_UNREADABLE = The documents could not be read. Bring them again, complete and legible.
DOCUMENTS_NOT_ACCEPTED = The documents were not accepted as genuine, or are another person's.
NOT_THE_OWNER = It could not be shown that who asked is the owner of the account, or may speak for them.
NOT_GRANTED = Support did not grant it; ask them for the details.
UNFOUNDED = The request was manifestly unfounded, or repeated more often than is reasonable.
LEGAL_OBLIGATION = A law does not allow the account to be erased now.

## What confirms a deletion, or something milder. $code: digits. $minutes: how long it can be used.

CODE_DELETION = Your code to delete your account
    .text = Your code is { $code }. It can be used for { $minutes } minutes. It confirms that your account is to be deleted. If you did not ask for that, tell nobody the code and change your password.
CODE_CHANGE = Your code to change your account
    .text = Your code is { $code }. It can be used for { $minutes } minutes. It confirms that a freeze of your account ends, or that your real name is cleared. If you did not ask for that, tell nobody the code and change your password.
LINK_DELETION = Confirm that your account is to be deleted
    .text = You asked to delete your account. Open this page within { $minutes } minutes and confirm it there: { $link } Nothing happens by opening it. If you did not ask for that, pass the link on to nobody and change your password.
LINK_CHANGE = Confirm a change of your account
    .text = You asked that a freeze of your account ends, or that your real name is cleared. Open this page within { $minutes } minutes and confirm it there: { $link } Nothing happens by opening it. If you did not ask for that, pass the link on to nobody and change your password.
