use super::*;

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect()
}

#[test]
fn every_policy_that_is_shipped_can_be_used_and_names_itself() {
    for name in Document::SHIPPED {
        let document = Document::shipped(name).unwrap();
        let policy = document.policy().unwrap();
        assert_eq!(policy.name, name);
        assert_eq!(policy.participants().count(), 8);
        assert_eq!(policy.cautions(), []);
        assert_eq!(Policy::shipped(name), Some(policy));
    }
    assert_eq!(Document::shipped("mars"), None);
}

#[test]
fn no_policy_keeps_anything_under_another_regions_law() {
    for (name, foreign) in [
        ("cn", &["GDPR", "BGB", "HGB", "U.S.C.", "California"][..]),
        ("eu", &["PRC", "PIPL", "U.S.C.", "California"]),
        ("us", &["PRC", "PIPL", "GDPR", "BGB", "HGB"]),
        (
            "default",
            &["PRC", "PIPL", "GDPR", "BGB", "U.S.C.", "California"],
        ),
    ] {
        let policy = Policy::shipped(name).unwrap();
        for class in policy.retention.unwrap_or_default() {
            let law = &class.1.legal_basis;
            let found = foreign.iter().find(|it| law.contains(**it));
            assert_eq!(found, None, "{name}: {law}");
        }
        for law in policy.quarantine.iter().map(|it| &it.legal_basis) {
            let found = foreign.iter().find(|it| law.contains(**it));
            assert_eq!(found, None, "{name}: {law}");
        }
    }
}

#[test]
fn a_policy_reads_back_as_it_was_written() {
    for name in Document::SHIPPED {
        let policy = Policy::shipped(name).unwrap();
        let text = toml::to_string(&Document::from(&policy)).unwrap();
        let read: Document = toml::from_str(&text).unwrap();
        assert_eq!(read.policy(), Ok(policy), "{text}");
    }
}

#[test]
fn what_a_document_says_wins_over_what_it_extends() {
    let own: Document = toml::from_str(
        "name = 'ours'\nextends = 'cn'\nblockers.POINTS_LEFT = 'advisory'\ncooling_off = '14 days'\ndevices.home = 'unbind'\nchannels.web = ['password']",
    )
    .unwrap();
    let base = Document::shipped("cn").unwrap();
    let policy = own.over(base).policy().unwrap();
    let cn = Policy::cn();
    assert_eq!(
        policy,
        Policy {
            name: "ours".to_owned(),
            cooling_off: Duration::from_secs(14 * 24 * 60 * 60),
            blockers: BTreeMap::from([("POINTS_LEFT".to_owned(), Class::Advisory)]),
            // A list is one thing: a channel that is not named takes no requests.
            channels: BTreeMap::from([(Channel::Web, vec![Factor::Password])]),
            devices: DevicePolicy {
                home: Disposal::Unbind,
                ..cn.devices.clone()
            },
            ..cn
        }
    );
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let problems = Document::default().policy().unwrap_err();
    assert_eq!(problems.len(), 26);
    assert!(problems.iter().all(|it| it.message == "is required"));
    // And what is wrong, with it.
    let own: Document = toml::from_str("name = 'OURS'\ncooling_off = '400 days'").unwrap();
    let problems = own.policy().unwrap_err();
    let keys = keys(&problems);
    assert!(
        keys.contains(&"name") && keys.contains(&"verification"),
        "{keys:?}"
    );
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let cn = Policy::cn();
    let twice = |stage: &Stage| [stage.clone(), stage.clone()];
    let wrong = Policy {
        name: "Mars!".to_owned(),
        channels: BTreeMap::from([(Channel::Web, vec![Factor::Password, Factor::Password])]),
        verification: Duration::ZERO,
        calendar: "lunar".to_owned(),
        cooling_off: Duration::from_secs(30 * 24 * 60 * 60),
        deadline_warning: Duration::from_secs(30 * 24 * 60 * 60),
        stalled_after: Duration::ZERO,
        recheck: Duration::ZERO,
        recent_change: RECENT_CHANGE_MAX + Duration::from_micros(1),
        notices: Notices {
            send: true,
            reminders: vec![Duration::ZERO; 9],
        },
        recent_contact: Some(RecentContact {
            factors: vec![Factor::Password, Factor::Password],
            cooling_off: Duration::ZERO,
        }),
        extension: Some(Extension {
            deadline: cn.deadline,
        }),
        blockers: BTreeMap::from([
            ("LEGAL_HOLD".to_owned(), Class::Advisory),
            ("FRAUD_CASE".to_owned(), Class::Advisory),
            ("PARTICIPANT_UNREACHABLE".to_owned(), Class::Forfeitable),
            ("DELETION_ALREADY_RUNNING".to_owned(), Class::Advisory),
            ("points left".to_owned(), Class::Hard),
        ]),
        devices: DevicePolicy {
            horizon: Duration::ZERO,
            order_life: Duration::from_secs(1),
            reset_consent: Some("Wipe it!".to_owned()),
            self_service_closed_by: ["COMMUNITY_BANNED", "KARMA", "KARMA"]
                .map(str::to_owned)
                .to_vec(),
            ..cn.devices.clone()
        },
        retention: cn.retention.clone().map(|mut classes| {
            let class = classes.remove("transactions").unwrap();
            classes.insert("quarantined_fax".to_owned(), class.clone());
            let lawless = String::new();
            classes.insert(
                "Orders".to_owned(),
                retention::Class {
                    legal_basis: lawless,
                    ..class
                },
            );
            classes
        }),
        quarantine: cn.quarantine.clone().map(|held| Quarantine {
            legal_basis: "x".repeat(257),
            ..held
        }),
        stages: cn.stages.iter().take(1).flat_map(twice).collect(),
        ..cn
    };
    let problems = wrong.problems();
    assert_eq!(
        keys(&problems),
        [
            "name",
            "calendar",
            "verification",
            "stalled_after",
            "recheck",
            "recent_change",
            "deadline",
            "deadline_warning",
            "devices.horizon",
            "devices.order_life",
            "devices.reset_consent",
            "devices.self_service_closed_by.1",
            "devices.self_service_closed_by.2",
            "devices.self_service_closed_by.2",
            "notices.reminders",
            "notices.reminders",
            "notices.reminders",
            "recent_contact.factors",
            "extension.deadline",
            "devices.order_life",
            "blockers.DELETION_ALREADY_RUNNING",
            "blockers.FRAUD_CASE",
            "blockers.LEGAL_HOLD",
            "blockers.PARTICIPANT_UNREACHABLE",
            "blockers.points left",
            "channels.web",
            "retention.Orders",
            "retention.Orders.legal_basis",
            "retention.quarantined_fax",
            "quarantine.legal_basis",
            "stages.1.name",
            "stages.1.participants.0"
        ]
    );
}

#[test]
fn what_a_policy_may_leave_out_is_not_filled_in_but_for_what_closes_self_service() {
    let document = Document {
        desk_verification: None,
        devices: Devices {
            self_service_closed_by: None,
            ..Document::shipped("cn").unwrap().devices
        },
        quarantine: None,
        real_name_review: None,
        ..Document::shipped("cn").unwrap()
    };
    let policy = document.policy().unwrap();
    assert_eq!(policy.desk_verification, None);
    assert_eq!(
        policy.devices.self_service_closed_by,
        ["COMMUNITY_BANNED", "ACCOUNT_FROZEN", "ACCOUNT_MEMORIALIZED"]
    );
    let mut open = document.clone();
    open.devices.self_service_closed_by = Some(Vec::new());
    let open = open.policy().unwrap();
    assert_eq!(open.devices.self_service_closed_by, [""; 0]);
    assert_eq!((policy.quarantine, policy.real_name_review), (None, false));
}

#[test]
fn a_document_knows_which_keys_it_says() {
    let document: Document = toml::from_str(
        "seal = true\n[consents]\nweb = { a-text = 1 }\n[retention.'a.b']\nlegal_basis = ''\nfrom = 'entry'\n\
         period = '1 year'\ncustodian = 'store'\n[[stages]]\nname = 'ONE'\nparticipants = []\n",
    )
    .unwrap();
    for key in [
        "seal",
        "consents.web.a-text",
        "retention.a.b.legal_basis",
        "stages",
        "stages.0.name",
    ] {
        assert!(document.says(key), "{key}");
    }
    for key in [
        "sea",
        "seal.x",
        "probe",
        "devices",
        "devices.horizon",
        "consents.phone",
        "quarantine",
    ] {
        assert!(!document.says(key), "{key}");
    }
}

#[test]
fn a_consent_to_wiping_that_nobody_is_asked_for_is_told() {
    let cautions = |personal, text: &str, consents: &[(&str, u32)]| {
        let asked = consents
            .iter()
            .map(|(text, version)| ((*text).to_owned(), *version));
        let policy = Policy {
            devices: DevicePolicy {
                personal,
                reset_consent: Some(text.to_owned()).filter(|text| !text.is_empty()),
                ..Policy::cn().devices
            },
            consents: BTreeMap::from([(Channel::Phone, asked.collect())]),
            ..Policy::cn()
        };
        assert_eq!(policy.problems(), []);
        policy.cautions()
    };
    let asked = [("data-loss", 3), ("device-reset", 1)];
    let odd = cautions(Disposal::Reset, "devices-reset", &asked);
    assert_eq!(keys(&odd), ["devices.reset_consent"]);
    assert!(
        odd[0].message.contains("data-loss, device-reset"),
        "{odd:?}"
    );
    assert_eq!(cautions(Disposal::Reset, "device-reset", &asked), []);
    // Which texts there are is not known, or it is of no consequence.
    assert_eq!(cautions(Disposal::Reset, "devices-reset", &[]), []);
    assert_eq!(cautions(Disposal::Unbind, "devices-reset", &asked), []);
    assert_eq!(cautions(Disposal::Unbind, "", &asked), []);
}

#[test]
fn devices_of_the_frozen_and_the_dead_left_to_whoever_asks_are_told() {
    let cautions = |closed_by: &[&str]| {
        let policy = Policy {
            devices: DevicePolicy {
                self_service_closed_by: closed_by.iter().map(|&code| code.to_owned()).collect(),
                ..Policy::cn().devices
            },
            ..Policy::cn()
        };
        assert_eq!(policy.problems(), []);
        policy.cautions()
    };
    for (closed_by, lacking) in [
        (&["ACCOUNT_FROZEN"][..], "lacks ACCOUNT_MEMORIALIZED:"),
        (&["ACCOUNT_MEMORIALIZED"], "lacks ACCOUNT_FROZEN:"),
        (&[], "lacks ACCOUNT_FROZEN and ACCOUNT_MEMORIALIZED:"),
    ] {
        let told = cautions(closed_by);
        assert_eq!(keys(&told), ["devices.self_service_closed_by"]);
        assert!(told[0].message.starts_with(lacking), "{told:?}");
    }
    // A ban is a policy's own affair.
    assert_eq!(cautions(&["ACCOUNT_FROZEN", "ACCOUNT_MEMORIALIZED"]), []);
}

#[test]
fn what_is_recent_is_a_policys_to_say_within_what_is_kept() {
    let with = |recent_change| Policy {
        recent_change,
        ..Policy::cn()
    };
    for fine in [Duration::from_secs(1), RECENT_CHANGE_MAX] {
        assert_eq!(with(fine).problems(), [], "{fine:?}");
    }
    for wrong in [Duration::ZERO, RECENT_CHANGE_MAX + Duration::from_secs(1)] {
        assert_eq!(
            keys(&with(wrong).problems()),
            ["recent_change"],
            "{wrong:?}"
        );
    }
    // Who writes one of their own says it, or takes it from what is extended; a policy of before has the digest that it had.
    let own: Document =
        toml::from_str("name = 'ours'\nextends = 'cn'\nrecent_change = '30 days'").unwrap();
    let own = own.over(Document::shipped("cn").unwrap()).policy().unwrap();
    assert_eq!(own.recent_change, RECENT_CHANGE_MAX);
    let stored = |policy: &Policy| serde_json::to_value(policy).unwrap();
    assert!(stored(&own).get("recent_change").is_some());
    assert!(stored(&Policy::cn()).get("recent_change").is_none());
    for policy in [own, Policy::cn()] {
        assert_eq!(
            serde_json::from_value::<Policy>(stored(&policy)).unwrap(),
            policy
        );
    }
}

#[test]
fn a_plan_without_participants_is_refused() {
    let empty = Policy {
        stages: vec![],
        ..Policy::cn()
    };
    assert!(empty.problems()[0].message.contains("never purges"));
}

#[test]
fn what_somebody_should_have_thought_about_is_allowed_and_said() {
    let bold = Policy {
        channels: BTreeMap::from([(Channel::Phone, vec![])]),
        retention: Some(BTreeMap::from([(
            "letters".to_owned(),
            retention::Class {
                legal_basis: "a law".to_owned(),
                from: retention::StartingPoint::Entry,
                period: "6 years".parse().unwrap(),
                custodian: "archive".parse().unwrap(),
            },
        )])),
        quarantine: None,
        seal: false,
        probe: false,
        eligibility: false,
        cooling_off: Duration::ZERO,
        notices: Notices::default(),
        recent_change: DAY - Duration::from_secs(1),
        recent_contact: Some(RecentContact {
            factors: vec![Factor::Password],
            cooling_off: Duration::from_secs(30 * 24 * 60 * 60),
        }),
        blockers: BTreeMap::from([
            ("KARMA_TOO_LOW".to_owned(), Class::Hard),
            ("PARTICIPANT_UNREACHABLE".to_owned(), Class::Advisory),
            ("DEVICES_BOUND".to_owned(), Class::Fixable),
            ("WALLET_BALANCE".to_owned(), Class::Advisory),
        ]),
        devices: DevicePolicy {
            reset_consent: None,
            ..Policy::cn().devices
        },
        ..Policy::cn()
    };
    assert_eq!(bold.problems(), []);
    assert_eq!(
        keys(&bold.cautions()),
        [
            "channels.phone",
            "blockers.KARMA_TOO_LOW",
            "blockers.PARTICIPANT_UNREACHABLE",
            "blockers.WALLET_BALANCE",
            "recent_change",
            "recent_contact.cooling_off",
            "retention.letters",
            "quarantine",
            "seal",
            "probe",
            "eligibility",
            "cooling_off",
            "notices.send",
            "devices.reset_consent"
        ]
    );
    let hasty = Policy {
        cooling_off: Duration::from_secs(60),
        ..Policy::cn()
    };
    assert_eq!(keys(&hasty.cautions()), ["notices.reminders"]);
}

#[test]
fn a_policy_that_was_stored_before_there_were_calendars_is_still_read() {
    let mut stored = serde_json::to_value(Policy::cn()).unwrap();
    let fields = stored.as_object_mut().unwrap();
    for younger in [
        "calendar",
        "time_zone",
        "blockers",
        "notices",
        "recent_contact",
        "extension",
        "retention",
        "quarantine",
    ] {
        assert!(fields.remove(younger).is_some(), "{younger}");
    }
    let days = Duration::from_secs(21 * 24 * 60 * 60);
    fields.insert("deadline".to_owned(), serde_json::to_value(days).unwrap());
    let read: Policy = serde_json::from_value(stored).unwrap();
    let expected = Policy {
        calendar: "none".to_owned(),
        time_zone: Zone::default(),
        deadline: Deadline::Within(Length(days)),
        notices: Notices::default(),
        recent_contact: None,
        extension: None,
        retention: None,
        quarantine: None,
        ..Policy::cn()
    };
    // What stores kept then they still keep, and nothing else is held back.
    let store = "store".parse().unwrap();
    assert_eq!(read.kept().of(&store).count(), 2);
    assert!(!read.kept().keeps(&"identity".parse().unwrap()));
    assert_eq!(read, expected);
    assert_eq!(read.problems(), []);
}

#[test]
fn a_policy_lets_fewer_people_override_and_never_more_but_for_silence_and_codes_of_its_own() {
    let overriders = |entries: &[(&str, Overrider)]| Policy {
        overriders: entries
            .iter()
            .map(|(code, overrider)| ((*code).to_owned(), *overrider))
            .collect(),
        ..Policy::cn()
    };
    let narrow = overriders(&[
        ("OPEN_DISPUTE", Overrider::Nobody),
        ("SUPPORT_TICKET_OPEN", Overrider::SupportWithSecondPerson),
        (
            "PARTICIPANT_UNREACHABLE",
            Overrider::SupportWithSecondPerson,
        ),
        ("KARMA_TOO_LOW", Overrider::Support),
    ]);
    assert_eq!(narrow.problems(), []);
    assert_eq!(narrow.overridable_by("OPEN_DISPUTE"), Overrider::Nobody);
    assert_eq!(narrow.overridable_by("KARMA_TOO_LOW"), Overrider::Support);
    assert_eq!(narrow.overridable_by("FRAUD_CASE"), Overrider::Nobody);
    assert_eq!(
        keys(&narrow.cautions()),
        [
            "overriders.KARMA_TOO_LOW",
            "overriders.PARTICIPANT_UNREACHABLE"
        ]
    );
    let wide = overriders(&[
        ("DEBT_OR_CREDIT", Overrider::Legal),
        ("LEGAL_HOLD", Overrider::SupportWithSecondPerson),
        ("OPEN_DISPUTE", Overrider::Support),
        ("PARTICIPANT_UNREACHABLE", Overrider::Support),
        ("points left", Overrider::Nobody),
    ]);
    assert_eq!(
        keys(&wide.problems()),
        [
            "overriders.DEBT_OR_CREDIT",
            "overriders.LEGAL_HOLD",
            "overriders.OPEN_DISPUTE",
            "overriders.PARTICIPANT_UNREACHABLE",
            "overriders.points left"
        ]
    );
    // As it was stored before there were any, and as it is again: a policy that says nothing of them has the digest that it had.
    let stored = serde_json::to_string(&Policy::cn()).unwrap();
    assert!(!stored.contains("overriders"));
    let document = Document::from(&narrow).to_toml().unwrap();
    let read: Document = toml::from_str(&document).unwrap();
    assert_eq!(read.policy().unwrap(), narrow);
}
