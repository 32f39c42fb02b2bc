# What stands in the way of a deletion, what else is to be known of one, and why something was refused: by code. The value says what is so, the
# attribute `.remedy` what to do about it.
#
# $count: how many there are, at least 1. $ends: `known` if it ends by itself, and then $until says when.
# No other variable exists: sentences hold nothing personal.

## Nobody's in particular

# A code that the catalogue doesn't know, from a participant that gave no sentence of its own.
UNKNOWN = Something is in the way that the service names only by a code.
    .remedy = Ask support, and tell them the code.
PARTICIPANT_UNREACHABLE = A service that must be asked first gives no answer.
    .remedy = Nothing for you to do: it is asked again.
DELETION_ALREADY_RUNNING = A deletion of this account is under way already.
    .remedy = Follow that one, or take it back while it can be.

## Identity

UNKNOWN_ACCOUNT = There is no such account.
    .remedy = Check which account is meant.
RECENT_PASSWORD_CHANGE = The password was changed a short time ago.
    .remedy = { $ends ->
        [known] Wait until { $until }: this protects you from somebody who has just learned your password.
       *[other] Wait some days: this protects you from somebody who has just learned your password.
    }
RECENT_CONTACT_CHANGE = { $count ->
        [one] The bound phone number or mail address was changed a short time ago.
       *[other] The bound phone number and mail address were changed a short time ago.
    }
    .remedy = { $ends ->
        [known] Wait until { $until }: this protects you from somebody who has just bound a number or address of their own.
       *[other] Wait some days: this protects you from somebody who has just bound a number or address of their own.
    }
RISK_CONTROL_LOCK = The account is locked because of unusual use.
    .remedy = Change your password first.
ACCOUNT_FROZEN = The account is frozen.
    .remedy = Ask support to lift that.
ACCOUNT_MEMORIALIZED = The account is kept in memory of a person who has died.
    .remedy = Relatives can ask support, with documents.
THIRD_PARTY_GRANTS = { $count ->
        [one] An app of another company may still use the account.
       *[other] { $count } apps of other companies may still use the account.
    }
    .remedy = Revoke their access in the account centre. Ask those companies to delete what they hold of you.
LEGAL_HOLD = A legal hold stops the deletion.
    .remedy = Nothing can be deleted until the hold is released. Support says whom to ask.
RETENTION_HELD = The account is deleted. A legal hold keeps the records of it that law retains, also past their time.
    .remedy = They are erased when the hold is released, or when their time is over, if that is later. Support says whom to ask.
FRAUD_CASE = { $count ->
        [one] The account is part of an investigation of fraud.
       *[other] The account is part of { $count } investigations of fraud.
    }
    .remedy = Wait until the investigation is closed. Support says whom to ask.
GUARDIAN_OF_CHILD_ACCOUNT = { $count ->
        [one] The account is the guardian of a child’s account.
       *[other] The account is the guardian of { $count } children’s accounts.
    }
    .remedy = Pass the guardianship to another adult, or delete the child’s account first.
CHILD_NEEDS_GUARDIAN = This is a child’s account, and its guardian has not agreed.
    .remedy = Ask your guardian to agree in their own account.

## Store

UNFINISHED_ORDER = { $count ->
        [one] An order has not arrived yet.
       *[other] { $count } orders have not arrived yet.
    }
    .remedy = { $count ->
        [one] Wait until it arrives, or cancel it in the store.
       *[other] Wait until they arrive, or cancel them in the store.
    }
OPEN_DISPUTE = { $count ->
        [one] An order is disputed.
       *[other] { $count } orders are disputed.
    }
    .remedy = Settle that with the store, or ask support to delete the account with it.
WALLET_BALANCE = There is money in the wallet.
    .remedy = Spend it, have it paid out to your bank, or ask support to move it to another account.
DEBT_OR_CREDIT = { $count ->
        [one] A debt or credit is still to be paid.
       *[other] { $count } debts or credits are still to be paid.
    }
    .remedy = Pay what is owed, in the store’s wallet.
COUPONS_LEFT = { $count ->
        [one] A coupon is left.
       *[other] { $count } coupons are left.
    }
    .remedy = { $count ->
        [one] Use it, give it up in the store or ask support to move it to another account; or ask again and agree to lose it with the account.
       *[other] Use them, give them up in the store or ask support to move them to another account; or ask again and agree to lose them with the account.
    }
POINTS_LEFT = { $count ->
        [one] A loyalty point is left.
       *[other] { $count } loyalty points are left.
    }
    .remedy = Use your points, give them up in the store or ask support to move them to another account; or ask again and agree to lose them with the account.
ACTIVE_SUBSCRIPTION = { $count ->
        [one] A subscription is active.
       *[other] { $count } subscriptions are active.
    }
    .remedy = { $count ->
        [one] Cancel it in the store, or ask support to move it to another account.
       *[other] Cancel them in the store, or ask support to move them to another account.
    }
CAMPAIGN_ACTIVE = { $count ->
        [one] You take part in a campaign that is still running.
       *[other] You take part in { $count } campaigns that are still running.
    }
    .remedy = { $ends ->
        [known] Leave it in the store, or wait until { $until }.
       *[other] Leave it in the store, or wait until it is over.
    }
SAFETY_OR_INSURANCE_CASE = { $count ->
        [one] A safety report or an insurance claim is still open.
       *[other] { $count } safety reports or insurance claims are still open.
    }
    .remedy = Wait until it is closed, or ask support how far it is.
SUPPORT_TICKET_OPEN = { $count ->
        [one] A question to support is still open.
       *[other] { $count } questions to support are still open.
    }
    .remedy = Wait for the answer, or withdraw what you asked: nobody could answer you any more.

## The support desk

LEGACY_CASE_OPEN = Relatives have told support that the owner of this account has died. Support looks into it.
    .remedy = If you are the owner, tell support. Otherwise wait until the case is closed.
TRANSFER_OPEN = { $count ->
        [one] Something is still to be moved to another account.
       *[other] { $count } moves to another account are still to be made.
    }
    .remedy = Wait until support has moved it, or withdraw the case: what is left is lost with the account.

## Cloud

EXPORT_RUNNING = A copy of the account’s data is being made for you.
    .remedy = { $ends ->
        [known] Wait until it is ready, and download it. It is ready or given up by { $until }. You may also cancel it.
       *[other] Wait until it is ready, and download it. You may also cancel it.
    }

## Community

COMMUNITY_BANNED = { $ends ->
        [known] You are banned from the community until { $until }. That does not stop the deletion.
       *[other] You are banned from the community. That does not stop the deletion.
    }
    .remedy = Nothing to do. Only support can lift a ban.

## Devices

DEVICES_BOUND = { $count ->
        [one] A device is still bound to the account. The deletion unbinds it, and may erase what is stored on it.
       *[other] { $count } devices are still bound to the account. The deletion unbinds them, and may erase what is stored on them.
    }
    .remedy = { $count ->
        [one] Save what is on it. If you like, unbind it remotely first, wherever it is.
       *[other] Save what is on them. If you like, unbind them remotely first, wherever they are.
    }
DEVICE_BOUND_UNREACHABLE = { $count ->
        [one] A device was not in touch for a day or longer. It is told when it comes back, and keeps what is on it until then.
       *[other] { $count } devices were not in touch for a day or longer. They are told when they come back, and keep what is on them until then.
    }
    .remedy = { $count ->
        [one] Switch it on and connect it now, if you have it.
       *[other] Switch them on and connect them now, if you have them.
    }
DEVICE_IN_LOST_MODE = { $count ->
        [one] A device is reported lost. Its lock stays on after the deletion.
       *[other] { $count } devices are reported lost. Their locks stay on after the deletion.
    }
    .remedy = { $count ->
        [one] If you have it again, report it as found first: afterwards nobody can unlock it in your name.
       *[other] If you have them again, report them as found first: afterwards nobody can unlock them in your name.
    }
SOLE_ADMIN_OF_SHARED_HOME = { $count ->
        [one] Others live with a device that you alone administer. They can go on using it, but nobody could manage it.
       *[other] Others live with { $count } devices that you alone administer. They can go on using them, but nobody could manage them.
    }
    .remedy = Make one of them an admin first: what you share with an admin passes to them.

## Why a deletion is late, for the person it is about

LATE_OWED = { $who ->
        [phones] Your phones have not all confirmed yet that they are reset.
        [wearables] Your watches have not all confirmed yet that they are reset.
        [smarthome] The devices in your home have not all confirmed yet that they are unbound.
       *[other] One of our services has not confirmed yet that everything is erased.
    }
    .remedy = { $who ->
        [phones] Switching them on and connecting them helps. We go on asking.
        [wearables] Switching them on near your phone helps. We go on asking.
        [smarthome] Connecting them helps. We go on asking.
       *[other] You need do nothing: we go on asking.
    }
LATE_DISPUTED = One of our services could not erase everything by itself.
    .remedy = You need do nothing: somebody is looking into it.
LATE_WAITING = Erasing has not begun yet.
    .remedy = You need do nothing: it goes on by itself.

## A deletion under way

EVIDENCE_CONFLICT = A participant answered the same command in two ways.
    .remedy = Compare its evidence and decide.
RESIDUE_AGAIN = The participant was erased many times and still holds something.
    .remedy = Find out what writes it, then have the leg asked again.
LEG_REFUSED = The participant refuses its leg.
    .remedy = Clear the cause, then have the leg asked again.
LEG_OWED = The participant has not acknowledged its leg.
    .remedy = Look at the participant’s own queue.
PARTICIPANT_NOT_CONNECTED = The participant is not connected.
    .remedy = Start it, and check its certificate and the coordinator’s address.
DEADLINE_PASSED = The deadline has passed.
    .remedy = Tell the person why.
DEADLINE_NEAR = The deadline is near.
    .remedy = Find out who owes what.

## Why a change of an account was refused or waits, where that is said otherwise than of a deletion

CHANGE_LEGAL_HOLD = A legal hold keeps the account as it is.
    .remedy = Nothing of this can be changed until the hold is released. Support says whom to ask.
CHANGE_UNKNOWN = Something is in the way that the service names only by a code.
    .remedy = Ask support, and tell them the code.
NO_REAL_NAME = The account has no real name.
    .remedy = Nothing to do: there is nothing to clear.
DEVICE_REFUSED = The device does not want to be unbound, and names only a code. The account is no longer bound to it.
    .remedy = Ask again. If it goes on refusing, take it to a repair shop, and tell them the code.
EXPORT_TIMED_OUT = A service did not give its part of your data in time, and so there is no archive.
    .remedy = Ask for another one later.
EXPORT_TOO_LARGE = Your data are more than one archive can hold.
    .remedy = Ask support for a copy.

## Why a request was not carried out, for the person who asked: by the reason of the error. Where the same code stands above, of a
## blocker or a condition, and another sentence is needed, it is REFUSED_ and the reason.

# What an app or another system did wrong, and not the person.
MESSAGE_TOO_LARGE = The app sent more than we can take. Nothing was changed.
    .remedy = Update the app, or tell support.
PAGE_TOKEN_MISMATCH = This page belongs to another list.
    .remedy = Begin again with the first page.
FACTOR_NOT_REQUIRED = This is not asked for here.
    .remedy = Prove what is asked for.
OFFSET_OUT_OF_RANGE = The archive ends before that.
    .remedy = Download it from the beginning.
EMPTY_PLAN = This is not offered in your region.
    .remedy = Ask support.
NOT_A_CALLER = This app may not ask for that.
    .remedy = Use the settings of your phone or the account centre, or ask support.
NOT_A_CELL = This app may not ask for others.
    .remedy = Use the settings of your phone or the account centre, or ask support.

# What passes by itself.
LEDGER_UNAVAILABLE = We could not carry that out just now. Nothing was lost.
    .remedy = Try again in a moment.
LEDGER_REFUSED = We could not carry that out.
    .remedy = Try again. If that does not help, tell support.
IDENTITY_UNAVAILABLE = The service that knows your account gives no answer just now. Nothing was lost.
    .remedy = Try again in a moment.
STORE_UNREACHABLE = The store gives no answer just now. Nothing was lost.
    .remedy = Try again in a moment.
LINE_UNREACHABLE = The service that knows your devices gives no answer just now. Nothing was lost.
    .remedy = Try again in a moment.
CUSTODIAN_UNREACHABLE = The service that makes the copy of your data gives no answer just now. Nothing was lost.
    .remedy = Try again in a moment.
CELL_UNREACHABLE = The region that may know this gives no answer just now.
    .remedy = Try again in a moment.
PARTICIPANT_AWAY = The service is not there.
    .remedy = Try again once it is.
ACCOUNT_BUSY = Something else is being changed about the account at this moment.
    .remedy = Try again in a moment.
DRAINING = We could not carry that out just now. Nothing was lost.
    .remedy = Try again in a moment.
CALLER_TOO_FAST = Too much was asked in too short a time.
    .remedy = { $ends ->
        [known] Try again after { $until }.
       *[other] Try again in a minute.
    }
TOO_MANY_WATCHERS = Too many people are watching at this moment.
    .remedy = Try again in a moment.
WATCHER_TOO_SLOW = The connection was too slow to go on.
    .remedy = Open the page again.
TOO_MANY_DOWNLOADS = Too many archives are being downloaded at this moment.
    .remedy = Try again in a moment: the download goes on where it was.
REPLAY_RUNNING = This is being done already.
    .remedy = Wait until it is over.

# Proofs.
CODE_TOO_SOON = { $ends ->
        [known] No other code can be sent yet.
       *[other] A code was sent a moment ago.
    }
    .remedy = { $ends ->
        [known] Ask for another one after { $until }.
       *[other] Look for it, also among unwanted mail. You can ask for another one in a minute.
    }
NO_ADDRESS = No code can be sent there.
    .remedy = Use another way, or ask support.
LINKS_UNAVAILABLE = No links are sent here.
    .remedy = Ask for a code instead.
WRONG_PROOF = The code, link or password is not the right one.
    .remedy = Check it and try again, or ask for a new code.
PROOF_EXPIRED = The code or link is no longer good: it is too old, was used, or a newer one was sent.
    .remedy = Ask for a new one.
TOO_MANY_TRIES = Too many tries were wrong, and to protect the account no more are taken for now.
    .remedy = { $ends ->
        [known] Try again after { $until }. If that was not you, change your password.
       *[other] Ask for a new code, or try again later. If that was not you, change your password.
    }
CONSENT_MISSING = Something must be agreed to first.
    .remedy = Read what you are asked to agree to, and agree to each by itself.

# Deletions.
ACCOUNT_HAS_LIVE_DELETION = A deletion of this account is under way already.
    .remedy = Follow that one, or take it back while it can be.
DELETION_NOT_FOUND = There is no such deletion.
    .remedy = Check which one is meant.
PAST_NO_RETURN = Erasing has begun. It can no longer be taken back.
    .remedy = Nothing to do. You can follow it to its end.
ALREADY_ENDED = The deletion is over.
    .remedy = Look at how it ended. If you want to, ask for another one.
ILLEGAL_STATE = That is not possible now.
    .remedy = Look at how far it is, and do what is asked for there.
SEAL_OUTSTANDING = The account is still being made ready for that.
    .remedy = Try again in a moment.
COOLING_OFF = The time in which the deletion can be taken back is not over.
    .remedy = Wait until it is.
NOT_ELIGIBLE = Something stands in the way of the deletion.
    .remedy = Look at what that is, and what helps.
HELD = A legal hold stops the deletion.
    .remedy = Nothing can be deleted until the hold is released. Support says whom to ask.
LEGS_OUTSTANDING = Not everything is erased yet.
    .remedy = Wait until it is: it goes on by itself.
NOT_PURGED = The deletion is not over yet, and so there is no certificate.
    .remedy = Ask for it when everything is erased.
BLOCKER_NOT_IN_THE_WAY = This does not stand in the way of the deletion now.
    .remedy = Look at what does.
BLOCKER_NOT_OVERRIDABLE = Nobody can set this aside.
    .remedy = Only its end helps: look at what is to be done about it.
OVERRIDE_BY_LEGAL_ONLY = Only the legal department can set this aside.
    .remedy = Support says whom to ask.
TOO_MANY_OVERRIDES = Nothing more can be set aside for this deletion.
    .remedy = Ask support.
DEADLINE_NOT_EXTENDABLE = The deadline cannot be extended in this region.
    .remedy = It stays as it is.
DEADLINE_ALREADY_EXTENDED = The deadline was extended once already.
    .remedy = It stays as it is.
REFUSED_DEADLINE_PASSED = The deadline has passed, and can no longer be extended.
    .remedy = It stays as it is.

# Cases of the support desk.
CASE_NOT_APPROVED = The support desk has not approved the case.
    .remedy = Wait until it has.
CASE_NOT_REJECTED = The support desk has not rejected the case.
    .remedy = Reject it first, with a reason.
CASE_EXPIRED = The approval was not used in time.
    .remedy = Open another case.
CASE_USED = The approval was used for something else.
    .remedy = Open another case.
CASE_NOT_FOR_THIS = The case was approved for something else.
    .remedy = Open a case for this.

# Accounts.
ACCOUNT_NOT_FOUND = There is no such account.
    .remedy = Check which account is meant.
ACCOUNT_CHANGE_NOT_FOUND = There is no such change of the account.
    .remedy = Check which one is meant.
FORWARD_LOOP = It is not clear which region the account belongs to.
    .remedy = Ask support.
ACCOUNT_NOT_FROZEN = You have not frozen the account.
    .remedy = Nothing to do. If you cannot log in, ask support.
ACCOUNT_NOT_MEMORIALIZED = The account is not kept in memory of anybody.
    .remedy = Nothing to do.
REAL_NAME_CLEARING_OPEN = The real name is being cleared already.
    .remedy = Follow that.
TOO_MANY_ACCOUNT_CHANGES = Too much is being changed about the account at a time.
    .remedy = Wait until some of it is over.

# Devices.
UNBINDING_NOT_FOUND = No such device of this account is being unbound.
    .remedy = Look at your devices.
LINE_REFUSED = The device could not be unbound.
    .remedy = Ask support.
SELF_SERVICE_CLOSED = Devices of this account are unbound by support or at a repair shop only.
    .remedy = Ask support, or take the device to a repair shop.

# Copies of what is there.
EXPORT_NOT_FOUND = There is no such copy of your data.
    .remedy = Ask for another one.
EXPORT_NOT_READY = There is no archive of it, or none yet.
    .remedy = Wait until it is ready. If it is over, ask for another one.
REFUSED_EXPORT_RUNNING = A copy of the account’s data is being made already.
    .remedy = Wait until it is ready, or cancel it.
TOO_MANY_EXPORTS = Too many copies are being made at this moment, or you had too many in a month.
    .remedy = Try again later.
ARCHIVE_CHANGED = The archive was made anew in the meantime.
    .remedy = Download it from the beginning.
ARCHIVE_DAMAGED = The archive is damaged, and nothing of it is given out.
    .remedy = Ask for another one.
ARCHIVE_KEY_UNKNOWN = The archive cannot be opened at this moment.
    .remedy = Tell support, or ask for another one.
CUSTODIAN_REFUSED = The copy of your data could not be made.
    .remedy = Ask support.

# What moves to another account.
TO_ACCOUNT_NOT_FOUND = There is no such account to move it to.
    .remedy = Check which account is meant.
TO_ACCOUNT_SEALED = The account to move it to is being deleted.
    .remedy = Choose another one.
TO_ACCOUNT_FROZEN = The account to move it to is frozen.
    .remedy = Unfreeze that one first, or choose another one.
TO_ACCOUNT_MEMORIALIZED = The account to move it to is kept in memory of a person who has died.
    .remedy = Choose another one.
ORDER_IN_TRANSIT = An order is still on its way.
    .remedy = Orders move once all have arrived or are cancelled.
ORDER_DISPUTED = An order is disputed.
    .remedy = Orders move once that is settled.
BALANCE_TOO_LARGE = Both accounts together have more than one may hold.
    .remedy = Use some of it first.
NOTHING_TO_TRANSFER = The account has nothing of this that can be moved.
    .remedy = Nothing to do.

# Numbers, addresses and names.
IDENTIFIER_IN_USE = An account has this number, address or name now.
    .remedy = Nothing to do: it is not held back.
