# Why the desk did not do what it was asked, for the person of the desk who asked: by the reason of the error. The value says what is so, the
# attribute `.remedy` what to do about it. What other ports say as well stands in services/interpreter/src/sentences.

NOT_OF_THE_DESK = Only people of the support desk may do that here.
    .remedy = Use a certificate of the desk in your own name.
EVIDENCE_NOT_FOUND = The case has no such document.
    .remedy = Check which one is meant.
EVIDENCE_DELETED = The document is gone: its period is over.
    .remedy = Ask the person to show it again, in another case.
EVIDENCE_MISSING = A document that this kind of case needs is missing.
    .remedy = Add it first.
EVIDENCE_TOO_LARGE = The document is larger than was said.
    .remedy = Send it again.
EVIDENCE_INCOMPLETE_UPLOAD = The document did not arrive whole. Nothing of it was kept.
    .remedy = Send it again.
TOO_MUCH_EVIDENCE = The case has as many documents as it may have.
    .remedy = Decide on what is there, or open another case.
TOO_MANY_CASES = The account has as many open cases as it may have.
    .remedy = Decide on one of those first, or withdraw it.
CASE_CLOSED = The case is over.
    .remedy = Open another one.
OWN_CASE = You opened this case yourself.
    .remedy = Two others must decide on it.
SAME_PERSON = You have approved this case already.
    .remedy = Somebody else must be the second.
ACCOUNT_ERASED = The account is erased.
    .remedy = Nothing to do: nothing can be asked for it any more.
DESK_BUSY = Too many documents are being sent at this moment.
    .remedy = Try again in a moment.
