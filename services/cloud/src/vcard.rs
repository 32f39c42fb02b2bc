//! Contacts as other address books read them: vCard 4.0, RFC 6350.

/// Octets of a line without its end; what is longer is folded (section 3.2).
const LINE_BYTES_MAX: usize = 75;

/// One contact. `id` stays the same in every export, so that an address book can know it again.
pub(crate) fn card(id: &str, name: &str, phone: &str) -> String {
    let mut card = String::new();
    line(&mut card, "BEGIN:VCARD");
    line(&mut card, "VERSION:4.0");
    line(&mut card, &format!("UID;VALUE=text:{}", escaped(id)));
    // A card without a name is none (section 6.2.1).
    let name = if name.trim().is_empty() { phone } else { name };
    line(&mut card, &format!("FN:{}", escaped(name)));
    if !phone.is_empty() {
        line(&mut card, &format!("TEL;VALUE=text:{}", escaped(phone)));
    }
    line(&mut card, "END:VCARD");
    card
}

/// Section 3.4: what would end a value or a line. Other control characters have no place in a text.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => safe.push_str("\\\\"),
            ',' => safe.push_str("\\,"),
            ';' => safe.push_str("\\;"),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\r' => safe.push_str("\\n"),
            c if c.is_control() && c != '\t' => {}
            c => safe.push(c),
        }
    }
    safe
}

/// Section 3.2: a long line goes on after a line end and a space, and no character is cut.
fn line(card: &mut String, content: &str) {
    let mut rest = content;
    let mut room = LINE_BYTES_MAX;
    loop {
        let end = (0..=room.min(rest.len()))
            .rev()
            .find(|end| rest.is_char_boundary(*end))
            .unwrap_or(0);
        card.push_str(&rest[..end]);
        card.push_str("\r\n");
        rest = &rest[end..];
        if rest.is_empty() {
            return;
        }
        card.push(' ');
        room = LINE_BYTES_MAX - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_card() {
        assert_eq!(
            card("c-1", "Zhang, Min; \\o/", "+86 139"),
            "BEGIN:VCARD\r\nVERSION:4.0\r\nUID;VALUE=text:c-1\r\nFN:Zhang\\, Min\\; \\\\o/\r\n\
             TEL;VALUE=text:+86 139\r\nEND:VCARD\r\n"
        );
    }

    #[test]
    fn nobody_writes_a_card_of_their_own_into_a_name() {
        let card = card("c-1", "A\r\nTEL:+1\nB\u{7}", "");
        assert!(card.contains("FN:A\\nTEL:+1\\nB\r\n") && !card.contains("\nTEL"));
    }

    #[test]
    fn a_long_line_is_folded_between_characters_and_unfolds_to_itself() {
        let name = "\u{5f20}\u{654f}".repeat(60);
        let card = card("c-1", &name, "");
        assert!(card.split("\r\n").all(|line| line.len() <= LINE_BYTES_MAX));
        assert!(
            card.replace("\r\n ", "")
                .contains(&format!("FN:{name}\r\n"))
        );
    }
}
