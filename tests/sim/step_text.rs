//! Reads steps from text; the inverse of their `Display`. Words may stand in any order after the fixed ones.

use std::net::IpAddr;
use std::time::Duration;

use jims::identity::event::Strength;

use crate::step::{
    Action, Answer, Answered, At, Claimed, Expected, HOUR, Kind, MINUTE, Object, Part, PolicyText,
    Read, SECOND, Said, Step, Whom,
};

/// Reads a whole scenario; blank lines and `#` comments are skipped.
pub(crate) fn parse_steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // A comment needs space before it, because `user#1=alice` is a word.
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let step = parse_step(line)
            .map_err(|problem| format!("line {}: {problem}: {line}", number + 1))?;
        steps.push(step);
    }
    Ok(steps)
}

fn parse_step(line: &str) -> Result<Step, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [time, who, rest @ ..] = words.as_slice() else {
        return Err("a step needs a time and a word".into());
    };
    let now = parse_clock(time)?;
    let action = match *who {
        "tick" => Action::Tick,
        "resume" => Action::Resume,
        "restart" => Action::Restart,
        "snapshot" | "restore" => {
            let [name] = rest else {
                return Err("a snapshot has a name".into());
            };
            let name = (*name).to_owned();
            if *who == "snapshot" {
                Action::Snapshot(name)
            } else {
                Action::Restore(name)
            }
        }
        "ask" => match rest {
            [address, "as", ticket] => Action::Ask(parse_address(address)?, (*ticket).into()),
            _ => return Err("ask ADDRESS as TICKET".into()),
        },
        "answer" => Action::Answer(parse_answer(rest)?),
        "changes" => Action::Changes(
            rest.iter()
                .map(|address| parse_address(address))
                .collect::<Result<_, _>>()?,
        ),
        "policy" => Action::Policy(parse_policy(rest)?),
        "directory" => Action::Read(parse_read(rest)?),
        "expect" => {
            let [address, words @ ..] = rest else {
                return Err("expect needs an address".into());
            };
            Action::Expect(parse_address(address)?, parse_expected(words)?)
        }
        "operator" => match rest {
            ["log-off", whom] => Action::LogOff(match whom.strip_prefix("user=") {
                Some(user) => Whom::User(user.into()),
                None => Whom::Address(parse_address(whom)?),
            }),
            _ => return Err("operator log-off ADDRESS or user=NAME".into()),
        },
        producer => Action::Said(parse_said(producer, now, rest)?),
    };
    Ok(Step { now, action })
}

/// `HH:MM:SS` with or without `.mmm`.
fn parse_clock(text: &str) -> Result<At, String> {
    let bad = || format!("no time: {text}");
    let number = |text: &str| text.parse::<At>().map_err(|_| bad());
    let (whole, millis) = text.split_once('.').unwrap_or((text, "0"));
    match whole.split(':').collect::<Vec<_>>().as_slice() {
        [h, m, s] => Ok(number(h)? * HOUR
            + number(m)? * MINUTE
            + number(s)? * SECOND
            + number(&format!("{millis:0<3}"))?),
        [h, m] => Ok(number(h)? * HOUR + number(m)? * MINUTE),
        _ => Err(bad()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("no duration: {text}");
    let (count, unit) = text.split_at(text.len().saturating_sub(1));
    let count: u64 = count.parse().map_err(|_| bad())?;
    match unit {
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_mins(count)),
        "h" => Ok(Duration::from_hours(count)),
        _ => Err(bad()),
    }
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("no address: {text}"))
}

fn parse_network(text: &str) -> Result<ipnet::IpNet, String> {
    text.parse().map_err(|_| format!("no network: {text}"))
}

fn option(text: &str) -> Option<String> {
    (text != "*").then(|| text.to_owned())
}

fn parse_said(producer: &str, now: At, words: &[&str]) -> Result<Said, String> {
    let [what, subject, address, words @ ..] = words else {
        return Err("an event needs a claim, a subject and an address (or -)".into());
    };
    let address = match *address {
        "-" => None,
        text => Some(parse_address(text)?),
    };
    let mut at = now;
    let (mut strength, mut own_kerberos) = (Strength::Strong, false);
    let (mut device, mut groups, mut id) = (None, Vec::new(), None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("strong", "") => strength = Strength::Strong,
            ("weak", "") => strength = Strength::Weak,
            ("own-kerberos", "") => own_kerberos = true,
            ("at", time) => at = parse_clock(time)?,
            ("device", name) => device = Some(name.to_owned()),
            ("groups", names) => groups = names.split(',').map(str::to_owned).collect(),
            ("id", value) => {
                let (computer, number) = value.split_once('/').ok_or("id=COMPUTER/NUMBER")?;
                let number = number.parse().map_err(|_| "id=COMPUTER/NUMBER")?;
                id = Some((computer.to_owned(), number));
            }
            _ => return Err(format!("unknown word {word}")),
        }
    }
    let claim = match *what {
        "logon" => Claimed::Logon {
            user: (*subject).into(),
            strength,
            device,
            groups,
            id,
        },
        "logoff" => Claimed::Logoff {
            user: option(subject),
            id,
        },
        "device-logon" => Claimed::DeviceLogon {
            device: (*subject).into(),
            strength,
            own_kerberos,
        },
        "device-logoff" => Claimed::DeviceLogoff {
            device: option(subject),
        },
        "renewal" => Claimed::Renewal {
            user: (*subject).into(),
            device,
        },
        _ => return Err(format!("unknown claim {what}")),
    };
    Ok(Said {
        producer: producer.into(),
        at,
        address,
        claim,
    })
}

fn parse_answer(words: &[&str]) -> Result<Answered, String> {
    let [ticket, answer, words @ ..] = words else {
        return Err("answer TICKET ANSWER".into());
    };
    let answer = match answer.split_once('=').unwrap_or((answer, "")) {
        ("users", list) => Answer::Users(list.split(',').map(str::to_owned).collect()),
        ("nobody", "") => Answer::Nobody,
        ("refused", "") => Answer::Refused,
        ("unreachable", "") => Answer::Unreachable,
        ("not-probed", "") => Answer::NotProbed,
        _ => return Err(format!("unknown answer {answer}")),
    };
    let (mut healthy, mut device) = (true, None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("unhealthy", "") => healthy = false,
            ("device", name) => device = Some(name.to_owned()),
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(Answered {
        ticket: (*ticket).into(),
        healthy,
        answer,
        device,
    })
}

fn parse_read(words: &[&str]) -> Result<Read, String> {
    let [directory, part, words @ ..] = words else {
        return Err("directory NAME PART OBJECT…".into());
    };
    let part = match *part {
        "full-begin" => Part::Begin,
        "full-part" => Part::Middle,
        "full-end" => Part::End,
        "poll" => Part::Poll,
        _ => return Err(format!("unknown part {part}")),
    };
    let (mut objects, mut gone) = (Vec::new(), Vec::new());
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("no id: {text}"));
    for word in words {
        let (kind, rest) = word.split_once('#').ok_or("KIND#ID=NAME")?;
        if kind == "gone" {
            gone.push(number(rest)?);
            continue;
        }
        let mut fields = rest.split('/');
        let (id, name) = fields
            .next()
            .and_then(|f| f.split_once('='))
            .ok_or("KIND#ID=NAME")?;
        let (mut upn, mut enabled, mut primary, mut members) = (None, true, None, Vec::new());
        for field in fields {
            match field.split_once('=').unwrap_or((field, "")) {
                ("upn", value) => upn = Some(value.to_owned()),
                ("disabled", "") => enabled = false,
                ("primary", value) => primary = Some(number(value)?),
                ("members", "") => {}
                ("members", list) => {
                    members = list.split(',').map(number).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("unknown field {field}")),
            }
        }
        let kind = match kind {
            "user" => Kind::User {
                upn,
                enabled,
                primary,
            },
            "device" => Kind::Device { primary },
            "group" => Kind::Group { members },
            _ => return Err(format!("unknown object {kind}")),
        };
        objects.push(Object {
            id: number(id)?,
            name: name.into(),
            kind,
        });
    }
    Ok(Read {
        directory: (*directory).into(),
        part,
        objects,
        gone,
    })
}

fn parse_policy(words: &[&str]) -> Result<PolicyText, String> {
    let mut policy = PolicyText::default();
    let mut domains = Vec::new();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("logoff-time", value) => policy.logoff_time = parse_duration(value)?,
            ("follow-device", "") => policy.follow_device = true,
            ("shared", value) => policy.shared.push(parse_network(value)?),
            ("probe", value) => policy.probe.push(parse_network(value)?),
            ("grace", value) => policy.grace = parse_duration(value)?,
            ("domain", value) => {
                let mut parts = value.split('/');
                let dns = parts.next().unwrap_or_default().to_owned();
                let netbios = parts.next().unwrap_or_default().to_owned();
                domains.push((dns, netbios, parts.next() == Some("directory")));
            }
            ("scope", value) => {
                let (producer, network) = value.split_once('@').ok_or("scope=PRODUCER@NETWORK")?;
                policy
                    .scopes
                    .push((producer.into(), parse_network(network)?));
            }
            ("exclude-address", value) => policy.exclude_addresses.push(parse_network(value)?),
            ("exclude-user", value) => policy.exclude_users.push(value.into()),
            ("exclude-device", value) => policy.exclude_devices.push(value.into()),
            ("exclude-group", value) => policy.exclude_groups.push(value.into()),
            _ => return Err(format!("unknown setting {word}")),
        }
    }
    if !domains.is_empty() {
        policy.domains = domains;
    }
    Ok(policy)
}

fn parse_expected(words: &[&str]) -> Result<Expected, String> {
    let mut expected = Expected::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("user", name) => expected.user = Some((name != "nobody").then(|| name.to_owned())),
            ("device", name) => expected.device = Some((name != "none").then(|| name.to_owned())),
            ("strong", "") => expected.strength = Some(Strength::Strong),
            ("weak", "") => expected.strength = Some(Strength::Weak),
            ("until", time) => expected.until = Some(parse_clock(time)?),
            ("doubted", "") => expected.doubted = Some(true),
            ("sure", "") => expected.doubted = Some(false),
            ("ended", word) => expected.ended = Some(word.to_owned()),
            ("roles", "") => expected.roles = Some(Vec::new()),
            ("roles", list) => {
                expected.roles = Some(list.split(',').map(str::to_owned).collect());
            }
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(expected)
}
