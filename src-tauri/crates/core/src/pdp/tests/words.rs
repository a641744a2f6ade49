use super::*;

fn say(decision: Decision) -> String {
    match decision {
        Decision::Permit { delay } => format!("runs {delay:?}"),
        Decision::Confirm { why } => format!("? {why}"),
        Decision::Forbid { why, instead } => format!("! {why} / {instead}"),
    }
}

#[test]
fn the_person_learns_why_it_is_asked() {
    let assistant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    let everything = grant(AuthorizationDetail::new("work", Preset::AskEverything));
    let naming = grant(detail(Preset::Assistant, json!({"named": [FILTER, "stripe.charges.create"]})));
    let over = |meter, limit, reach, asked| Room::Over { meter, limit, window: Window::Day, used: 3, asked, reach };
    let asks = |text: &str| {
        format!("@reason(\"{text}\") forbid (principal, action, resource) unless {{ context.confirmed }};")
    };
    let said = [
        decided("", &assistant, Class::Remove, |question| question.room = OVER),
        decided("", &assistant, Class::Modify, |question| {
            question.room = over(Meter::LeaveInbox, 20, Reach::Account, 30)
        }),
        decided("", &assistant, Class::Read, |question| {
            question.room = over(Meter::Read, 1, Reach::Exchanged, u32::MAX)
        }),
        decided("", &assistant, Class::Send, |question| question.room = over(Meter::Send, 5, Reach::Agent, 3)),
        decided("", &assistant, Class::Send, |question| question.known_recipients = false),
        decided("", &assistant, Class::Publish, |_| {}),
        decided("", &assistant, Class::Share, |_| {}),
        decided("", &assistant, Class::Destroy, |_| {}),
        decided("", &assistant, Class::Unclassified, |_| {}),
        decided("", &naming, Class::Divert, |_| {}),
        decided("", &naming, Class::Spend, |_| {}),
        decided("", &everything, Class::Modify, |_| {}),
        decided(&asks("no changes in December"), &assistant, Class::Modify, |_| {}),
    ];
    insta::assert_snapshot!(said.map(say).join("\n"), @r"
    ? Over its budget of 5 removals in 10 minutes: 5 used, 1 more asked for.
    ? Over the budget of all agents of this account together of 20 moves out of the inbox in 24 hours: 3 used, 30 more asked for.
    ? Over the budget of its narrowed token of 1 read in 24 hours: 3 used, an unknown number more asked for.
    ? Over its budget of 5 mail addresses in 24 hours: 3 used, 3 more asked for.
    ? It goes to somebody you have not written to before.
    ? Others could read it, and that is asked each time.
    ? Somebody gains access, and that is asked each time.
    ? Deleting for ever is always asked.
    ? Its effect is unknown, and that is always asked.
    ? It redirects mail or changes who has access later, and that is always asked.
    ? It spends money, and that is always asked.
    ? You chose to be asked for everything but reading.
    ? One of your rules asks first: no changes in December.
    ");
}

#[test]
fn the_agent_learns_what_would_be_possible_instead() {
    let [read_only, organize, assistant] = [Preset::ReadOnly, Preset::Organize, Preset::Assistant]
        .map(|preset| grant(AuthorizationDetail::new("work", preset)));
    let narrow = AuthorizationDetail::new("work", Preset::ReadOnly);
    let scoped = grant(detail(Preset::Organize, json!({"actions": ["gmail.users.threads.*"]})));
    let ended = Grant { expires_at: Some(NOW), ..organize.clone() };
    let plain = "forbid (principal, action, resource);";
    let named = format!("permit (principal, action, resource); @id(\"hands-off\") {plain}");
    let said = [
        decided("", &read_only, Class::Remove, |_| {}),
        decided("", &organize, Class::Send, |_| {}),
        decided("", &organize, Class::Publish, |_| {}),
        decided("", &assistant, Class::Divert, |_| {}),
        decided("", &read_only, Class::Spend, |_| {}),
        decided("", &scoped, Class::Remove, |_| {}),
        decided("", &assistant, Class::Remove, |question| question.narrowed = Some(&narrow)),
        decided("", &ended, Class::Read, |_| {}),
        decided(plain, &assistant, Class::Read, |_| {}),
        decided(&named, &assistant, Class::Read, |_| {}),
        decided(
            "permit (principal, action, resource) when { context.count - 9223372036854775807 - 9 > 5 };",
            &assistant,
            Class::Read,
            |_| {},
        ),
        pdp("", &[]).decide(&question(&organize, &operation(Class::Read))),
    ];
    insta::assert_snapshot!(said.map(say).join("\n"), @r"
    ! The grant on work is read-only: you may not remove anything. / Trying again will not help. Tell the person what you would change; they can do it, or widen the grant.
    ! The grant on work is organize: you may not send mail. / Trying again will not help. Leave a draft and tell the person, who can send it.
    ! The grant on work is organize: you may not publish anything. / Trying again will not help. Tell the person what you wanted to do, or leave a draft.
    ! The grant on work does not name gmail.users.settings.filters.create, so you may not redirect mail or change who has access. / Trying again will not help. Ask the person to do it themselves, or to name this action in the grant; then they will be asked each time.
    ! The grant on work is read-only: you may not spend money. / Trying again will not help. Tell the person what you would change; they can do it, or widen the grant.
    ! The grant on work does not include gmail.users.messages.trash. / Trying again will not help. What it includes: Reads, labels, archives and trashes within its budgets, asks beyond them. Sends nothing. Only gmail.users.threads.*. Ask the person for more if you need it.
    ! The narrowed token on work is read-only: you may not remove anything. / Trying again will not help. Tell the person what you would change; they can do it, or widen the grant.
    ! The grant on work has ended. / Trying again will not help. Ask the person for a new grant.
    ! A rule of the person forbids it: rule 1. / Trying again will not help. Tell the person what you wanted to do; only they can do it or change the rule.
    ! A rule of the person forbids it: hands-off. / Trying again will not help. Tell the person what you wanted to do; only they can do it or change the rule.
    ! A rule of the person (rule 1) can't be evaluated, which counts as a no. / Trying again will not help. Tell the person, who can mend the rule.
    ! There is no grant on work for this token. / Trying again will not help. Ask the person for a new grant.
    ");
}

#[test]
fn a_wrong_rule_is_refused_with_its_line() {
    let check = |rules: &str| Pdp::new(rules).unwrap_err().to_string();
    let all = [
        check("permit (principal, action, resource)"),
        check("// one\npermit (principal, action, resource)\nwhen { context.colour == \"red\" };"),
        check("permit (principal, action, resource);\n\nforbid (principal, action == Action::\"fly\", resource);"),
        check("permit (principal == User::\"me\", action, resource);"),
        check("permit (principal, action, resource) when { context.count };"),
        check("\npermit (principal == ?principal, action, resource);"),
        check("permit (principal, action, resource) when { \"a\" like 5 };"),
        check(&"/".repeat((1 << 20) + 1)),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    line 1: unexpected end of input
    line 3: attribute `colour` in context for Action::"destroy" not found (did you mean `count`?)
    line 3: unrecognized action `Action::"fly"` (there are read, modify, remove, unclassified, send, publish, share, destroy, spend, divert and the groups changes and reaches)
    line 1: unrecognized entity type `User` (did you mean `Agent`?)
    line 1: unexpected type: expected Bool but saw Long
    line 2: a rule can't have ?principal or ?resource; write the agent or account itself
    line 1: right hand side of a `like` expression must be a pattern literal, but got `5`
    the rules are longer than 1 MiB; make them fewer
    "#);
}
