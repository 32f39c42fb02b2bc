# What stands in the way of a deletion, and what else is to be known of one: by code. The value says what is so, the
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
