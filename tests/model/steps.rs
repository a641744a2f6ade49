//! What can happen, one thing at a time, and what must hold when it does.

use std::collections::BTreeSet;

use latch_core::call::{Call, Digest};
use latch_core::grant::{AuthorizationDetail, Preset};
use latch_core::guard::{BY_NOTIFICATION, Context, Ruling, Scope, Verdict, Waits};
use latch_core::hold::{self, Hold, State};
use latch_core::operation::{Class, Meter, Part, Request};
use latch_core::pdp::Outcome;
use latch_core::plan::Permit;
use latch_core::recipe::{View, restrict, soften};
use latch_core::time::Span;

use crate::mailbox::{WISHES, Wish, message, request};
use crate::reference::{Fits, Spent, counts, fits, outcome};
use crate::world::{ACCOUNTS, AGENTS, Allow, Allowance, Basis, Flight, Held, Token, World};

/// When the engine is killed within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Not at all.
    No,
    /// Before the step's commit is durable.
    Before,
    /// Right after it.
    After,
    /// After the bytes left, before the outcome is recorded.
    Sent,
}

/// How the person answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allow,
    AllowTask,
    AllowPart,
    AllowForever,
    ByNotification,
    Deny,
    WrongDigest,
    OtherObjects,
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub enum Step {
    Issue {
        agent: usize,
        narrowed: Option<Preset>,
    },
    Exchange {
        token: usize,
        preset: Option<Preset>,
        seconds: u64,
    },
    Ask {
        token: usize,
        account: usize,
        wish: usize,
        first: u8,
        count: u8,
    },
    /// Once more, for one object that a yes to a task was about.
    Again {
        allowance: usize,
        token: usize,
        object: usize,
        wish: usize,
    },
    Prepare {
        hold: usize,
    },
    Decide {
        hold: usize,
        answer: Answer,
    },
    Take {
        hold: usize,
    },
    Send {
        flight: usize,
        kill: Kill,
    },
    Line {
        hold: usize,
        waits: bool,
    },
    Wait {
        seconds: u64,
        quietly: bool,
    },
    WallBack {
        hours: u64,
    },
    Panic {
        kill: Kill,
    },
    Resume {
        agent: Option<usize>,
        preset: Preset,
    },
    Crash,
    Grant {
        agent: usize,
        account: usize,
        preset: Preset,
        life: Option<u64>,
    },
    RevokeGrant {
        agent: usize,
        account: usize,
    },
    Rules {
        forbidden: Vec<Class>,
        generous: bool,
    },
    Undo {
        done: usize,
    },
    Outside {
        account: usize,
        message: u8,
        label: &'static str,
    },
    Remember,
    OlderCopy,
}

fn pick<T>(items: &[T], number: usize) -> Option<&T> {
    items.get(number.checked_rem(items.len())?)
}

impl World {
    /// Lets it happen, then looks at every invariant.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Issue { agent, narrowed } => {
                let agent = *pick(&AGENTS, *agent).unwrap();
                let details =
                    narrowed.map(|preset| ACCOUNTS.map(|account| AuthorizationDetail::new(account, preset)).to_vec());
                self.issue(agent, details);
            }
            Step::Exchange { token, preset, seconds } => {
                let Some(index) = token.checked_rem(self.tokens.len()) else { return };
                let details = preset.map(|preset| vec![AuthorizationDetail::new(ACCOUNTS[index % 2], preset)]);
                self.exchange(index, details, Span::seconds(*seconds));
            }
            Step::Ask { token, account, wish, first, count } => {
                let ids: Vec<String> = (0..*count).map(|at| message(first + at)).collect();
                self.ask(*token, pick(&ACCOUNTS, *account).unwrap(), *pick(&WISHES, *wish).unwrap(), &ids);
            }
            Step::Again { allowance, token, object, wish } => {
                let Some(allowance) = pick(&self.allowances, *allowance).cloned() else { return };
                let objects: Vec<String> = allowance.objects.into_iter().collect();
                let Some(object) = pick(&objects, *object).cloned() else { return };
                let gentle = [Wish::Star, Wish::Archive, Wish::Trash, Wish::TrashEach];
                self.ask(*token, &allowance.account, *pick(&gentle, *wish).unwrap(), &[object]);
            }
            Step::Prepare { hold } => self.prepare(*hold),
            Step::Decide { hold, answer } => self.decide(*hold, *answer),
            Step::Take { hold } => self.take(*hold),
            Step::Send { flight, kill } => self.send(*flight, *kill),
            Step::Line { hold, waits } => {
                let Some(id) = self.hold_id(*hold, |hold| hold.state.waits()) else { return };
                self.guard.set_waiting(&id, if *waits { Waits::Comes } else { Waits::Leaves });
            }
            Step::Wait { seconds, quietly } => {
                self.time = self.time + Span::seconds(*seconds);
                self.wall = self.wall.saturating_add(seconds * 1_000);
                if *seconds >= 60 {
                    self.vault = self.disk.anchor();
                }
                if !quietly {
                    self.timeout();
                }
            }
            Step::WallBack { hours } => self.wall = self.wall.saturating_sub(hours * 3_600_000),
            Step::Panic { kill } => self.panic(*kill),
            Step::Resume { agent, preset } => self.resume(agent.map(|agent| *pick(&AGENTS, agent).unwrap()), *preset),
            Step::Crash => self.crash(),
            Step::Grant { agent, account, preset, life } => {
                let (agent, account) = (pick(&AGENTS, *agent).unwrap(), pick(&ACCOUNTS, *account).unwrap());
                self.put_grant(agent, account, *preset, life.map(Span::seconds));
            }
            Step::RevokeGrant { agent, account } => {
                self.revoke_grant(pick(&AGENTS, *agent).unwrap(), pick(&ACCOUNTS, *account).unwrap());
            }
            Step::Rules { forbidden, generous } => self.set_rules(forbidden.clone(), *generous),
            Step::Undo { done } => self.undo(*done),
            Step::Outside { account, message: number, label } => {
                let mailbox = self.mailboxes.get_mut(*pick(&ACCOUNTS, *account).unwrap()).unwrap();
                if let Some(labels) = mailbox.0.get_mut(&message(*number))
                    && !labels.remove(*label)
                {
                    labels.insert((*label).to_owned());
                }
            }
            Step::Remember => self.older = Some(self.disk.clone()),
            Step::OlderCopy => self.put_older_copy_back(),
        }
        self.check();
    }

    /// A hold, mostly one for which `likely` holds.
    fn hold_id(&self, number: usize, likely: impl Fn(&Hold) -> bool) -> Option<String> {
        let ids = |wanted: &dyn Fn(&Hold) -> bool| -> Vec<String> {
            self.guard.holds().filter(|hold| wanted(hold)).map(|hold| hold.id.clone()).collect()
        };
        let mostly = if number.is_multiple_of(8) { Vec::new() } else { ids(&likely) };
        pick(if mostly.is_empty() { ids(&|_| true) } else { mostly }.as_slice(), number).cloned()
    }

    fn ask(&mut self, token: usize, account: &str, wish: Wish, ids: &[String]) {
        let live: Vec<Token> = self.tokens.iter().filter(|token| self.is_alive(token)).cloned().collect();
        let tokens = if token.is_multiple_of(8) || live.is_empty() { &self.tokens } else { &live };
        let Some(token) = pick(tokens, token).cloned() else { return };
        let request = request(&self.gmail, wish, ids);
        let alive = self.is_alive(&token);
        let details = self.details(&token.session, account);
        let context = Context { looked_up: true, ..Context::default() };
        let ruling = self.guard.handle_request(&token.session, account, &request, context, self.now());
        let counted = counts(&Self::operations(&request));
        let digest = Hold::digest_of(&token.agent, account, &request);
        let (sure, possible) = match &details {
            None => (Some(Outcome::Forbid), vec![Outcome::Forbid]),
            Some(details) => self.expected(details, &token.agent, account, &request, &counted, wish),
        };
        let joins = self
            .guard
            .holds()
            .any(|hold| hold.digest == digest && !matches!(hold.state, State::Expired | State::Failed));
        match ruling {
            Ruling::Stopped => assert!(!alive, "a live token was stopped"),
            _ if !alive => panic!("I3, I4: a dead token was heard: {ruling:?}"),
            Ruling::Forbid { commit, .. } => {
                self.disk.commit(*commit);
                assert!(possible.contains(&Outcome::Forbid), "{wish:?} was refused: {possible:?}");
                self.tally("forbidden");
            }
            Ruling::Resolve => panic!("every id of {wish:?} is known"),
            Ruling::LookUp(_) | Ruling::View | Ruling::ReadFirst => {
                panic!("{wish:?}: looked up before, and no rule was allowed")
            }
            Ruling::Crowded { .. } => panic!("{wish:?} is small"),
            Ruling::Paused { until } => {
                assert!(until > self.time && possible.contains(&Outcome::Confirm), "{wish:?} paused: {possible:?}");
                self.tally("paused");
            }
            Ruling::Held { id, commit } => {
                self.disk.commit(*commit);
                assert!(sure != Some(Outcome::Forbid), "a forbidden {wish:?} was held");
                assert!(joins || sure != Some(Outcome::Permit), "{wish:?} could have run");
                let held = Held {
                    digest,
                    agent: token.agent.clone(),
                    account: account.to_owned(),
                    request,
                    prepared: false,
                    allow: None,
                    taken: false,
                    consumed: false,
                };
                let known = self.holds.entry(id).or_insert(held);
                assert_eq!(known.digest, digest, "another request's hold");
                self.tally("held");
            }
            Ruling::Permit(permit) => {
                let unasked = possible.contains(&Outcome::Permit);
                let by_allowance =
                    possible.contains(&Outcome::Confirm) && self.is_allowed(&token.agent, account, &request);
                assert!(unasked || by_allowance, "I2: {wish:?} ran unasked: {possible:?}");
                assert!(!joins, "a held request ran a second way");
                assert!(
                    by_allowance
                        || !matches!(
                            request.class(),
                            Class::Unclassified | Class::Destroy | Class::Divert | Class::Spend
                        ),
                    "I6: {wish:?} ran unasked"
                );
                let delayed = request.class() == Class::Send;
                assert_eq!(permit.delay().is_some(), delayed, "mail waits in the outbox, nothing else does");
                let basis = if unasked { Basis::Unasked } else { Basis::Allowance };
                let parts = request.parts.clone();
                self.fly(permit, (&token.agent, account), parts, counted, basis);
                self.tally(if unasked { "unasked" } else { "by allowance" });
            }
        }
    }

    /// The one sure outcome, if there is one, and all possible ones.
    fn expected(
        &self,
        details: &[AuthorizationDetail],
        agent: &str,
        account: &str,
        request: &Request,
        counted: &[(Meter, u64)],
        wish: Wish,
    ) -> (Option<Outcome>, Vec<Outcome>) {
        let fit =
            |detail: &AuthorizationDetail| fits(&self.spent, self.claim(agent, account, detail.preset(), counted));
        let fit = details
            .iter()
            .map(fit)
            .max_by_key(|fit| [Fits::Surely, Fits::Perhaps, Fits::No].iter().position(|one| one == fit));
        let operations = Self::operations(request);
        let details: Vec<&AuthorizationDetail> = details.iter().collect();
        let known = wish == Wish::SendKnown;
        let generous = |outcome_without: &dyn Fn(&[&AuthorizationDetail]) -> Outcome| {
            let own = outcome_without(&details[..1]);
            let class = request.class();
            let floor = match class {
                Class::Destroy | Class::Unclassified => Outcome::Confirm,
                Class::Divert | Class::Spend => own,
                _ if operations.iter().any(|operation| operation.opaque) => Outcome::Confirm,
                _ => Outcome::Permit,
            };
            let own = if self.generous && !self.forbidden.contains(&class) { own.min(floor) } else { own };
            if details.len() > 1 { own.max(outcome_without(&details[1..])) } else { own }
        };
        let of = |fits: bool| {
            generous(&|details: &[&AuthorizationDetail]| outcome(details, &operations, fits, known, &self.forbidden))
        };
        match fit {
            Some(Fits::Surely) => (Some(of(true)), vec![of(true)]),
            Some(Fits::No) => (Some(of(false)), vec![of(false)]),
            Some(Fits::Perhaps) | None => (None, vec![of(true), of(false)]),
        }
    }

    fn is_allowed(&self, agent: &str, account: &str, request: &Request) -> bool {
        request.parts.iter().all(|part| {
            let operation = &part.operation;
            self.allowances.iter().any(|one| {
                (one.agent.as_str(), one.account.as_str()) == (agent, account)
                    && one.verb == operation.verb
                    && one.class == operation.class
                    && one.epoch == self.epoch
                    && one.until > self.time
                    && matches!(operation.class, Class::Modify | Class::Remove)
                    && operation.objects.ids().iter().all(|id| one.objects.contains(id))
            })
        })
    }

    fn fly(
        &mut self,
        permit: Permit,
        (agent, account): (&str, &str),
        parts: Vec<Part>,
        counts: Vec<(Meter, u64)>,
        basis: Basis,
    ) {
        let forever = permit.forever();
        let mut calls: Vec<(Call, Part)> = Vec::new();
        for part in parts {
            match soften(&self.gmail, &part).filter(|_| !forever) {
                Some(softer) => {
                    let part = Part {
                        operation: latch_core::operation::Operation { undo: softer.undo, ..part.operation },
                        ..part
                    };
                    calls.extend(softer.calls.into_iter().map(|(_, call)| (call, part.clone())));
                }
                None => calls.push((part.call.clone(), part)),
            }
        }
        let objects = calls.iter().flat_map(|(_, part)| part.operation.objects.ids().to_vec()).collect();
        let all: Vec<Call> = calls.iter().map(|(call, _)| call.clone()).collect();
        let epoch = permit.epoch();
        let plan = self.guard.begin(permit, &all, self.now());
        self.spent.push(Spent {
            time: self.time,
            agent: agent.to_owned(),
            account: account.to_owned(),
            counts,
            unasked: basis == Basis::Unasked && !self.generous,
            durable: false,
        });
        let spent = self.spent.len() - 1;
        self.flights.push(Flight { plan, account: account.to_owned(), calls, next: 0, basis, objects, epoch, spent });
    }

    fn prepare(&mut self, hold: usize) {
        let Some(id) = self.hold_id(hold, |hold| !hold.is_prepared()) else { return };
        let views = self.guard.hold(&id).unwrap().objects.iter();
        let views =
            views.map(|object| (object.id.clone(), View { title: object.id.clone(), ..View::default() })).collect();
        self.guard.handle_views(&id, views);
        self.holds.get_mut(&id).unwrap().prepared = true;
    }

    fn decide(&mut self, hold: usize, answer: Answer) {
        let Some(id) = self.hold_id(hold, |hold| hold.state.waits() && hold.is_prepared()) else { return };
        let now = self.now();
        let shown = self.guard.hold(&id).unwrap().clone();
        let all: BTreeSet<String> = shown.objects.iter().map(|object| object.id.clone()).collect();
        let half: Vec<String> = all.iter().step_by(2).cloned().collect();
        let allow = |objects: Option<Vec<String>>, scope, forever, retyped_count| Verdict::Allow {
            objects,
            scope,
            forever,
            retyped_count,
        };
        let (digest, verdict, by, objects) = match answer {
            Answer::Allow => (shown.digest, allow(None, Scope::Once, false, Some(shown.count())), "dialog", all),
            Answer::AllowTask => (shown.digest, allow(None, Scope::Task, false, None), "dialog", all),
            Answer::AllowPart => (
                shown.digest,
                allow(Some(half.clone()), Scope::Once, false, None),
                "dialog",
                half.into_iter().collect(),
            ),
            Answer::AllowForever => (shown.digest, allow(None, Scope::Once, true, Some(shown.count())), "dialog", all),
            Answer::ByNotification => (shown.digest, allow(None, Scope::Once, false, None), BY_NOTIFICATION, all),
            Answer::Deny => (shown.digest, Verdict::Deny, "dialog", BTreeSet::new()),
            Answer::WrongDigest => (Digest::of(&[b"another"]), allow(None, Scope::Once, false, None), "dialog", all),
            Answer::OtherObjects => {
                (shown.digest, allow(Some(vec!["m999".to_owned()]), Scope::Once, false, None), "dialog", all)
            }
        };
        let Ok(decided) = self.guard.decide(&id, &digest, verdict, by, now) else {
            self.tally("answer refused");
            return;
        };
        self.disk.commit(decided.commit);
        assert!(!matches!(answer, Answer::WrongDigest | Answer::OtherObjects), "{answer:?} was taken");
        assert!(shown.state.waits() && shown.expires_at > self.time, "I4: {id} was decided after its end");
        let held = self.holds.get_mut(&id).unwrap();
        if answer == Answer::Deny {
            assert_eq!(decided.state, State::Denied);
            held.allow = None;
            self.tally("denied");
            return;
        }
        let gentle = held.request.parts.iter().all(|part| part.operation.class <= Class::Remove);
        assert!(held.prepared || shown.objects.is_empty(), "allowed before everything was read");
        assert!(!self.panicked && shown.epoch == self.epoch, "I3: allowed across a panic");
        assert!(
            gentle || !matches!(answer, Answer::AllowTask | Answer::ByNotification),
            "{answer:?} of {:?}",
            shown.class
        );
        assert!(!held.request.parts.iter().any(|part| part.operation.opaque), "what can't be decoded was allowed");
        let (epoch, forever) = (shown.epoch, answer == Answer::AllowForever);
        held.allow = Some(Allow { objects: objects.clone(), forever, epoch, until: self.time + hold::KEEP });
        if answer == Answer::AllowTask {
            let verb = held.request.parts[0].operation.verb.clone();
            self.allowances.push(Allowance {
                agent: shown.agent,
                account: shown.account,
                verb,
                class: shown.class,
                objects,
                epoch,
                until: self.time + hold::ALLOWANCE,
            });
        }
        self.tally("allowed");
    }

    fn take(&mut self, hold: usize) {
        let Some(id) = self.hold_id(hold, |hold| hold.state == State::Allowed) else { return };
        let Some((permit, request, allowed)) = self.guard.take_allowed(&id, self.now()) else { return };
        let held = self.holds.get_mut(&id).unwrap();
        let allow = held.allow.clone().unwrap_or_else(|| panic!("I2: {id} ran without a yes"));
        assert!(!held.taken && !held.consumed, "I2: {id} ran twice");
        assert!(allow.epoch == self.epoch && !self.panicked, "I3: {id} ran across a panic");
        assert!(allow.until > self.time, "I4: {id} ran after its end");
        assert_eq!(allow.forever, allowed.forever);
        assert_eq!(
            Hold::digest_of(&held.agent, &held.account, &request),
            held.digest,
            "another request than the approved one"
        );
        held.taken = true;
        let (agent, account) = (held.agent.clone(), held.account.clone());
        let keep: Vec<String> = allow.objects.iter().cloned().collect();
        let parts: Vec<Part> = match &allowed.objects {
            None => request.parts,
            Some(chosen) => {
                assert_eq!(*chosen, allow.objects);
                request.parts.iter().filter_map(|part| restrict(&self.gmail, part, &keep)).collect()
            }
        };
        let counted = counts(&parts.iter().map(|part| &part.operation).collect::<Vec<_>>());
        self.fly(permit, (&agent, &account), parts, counted, Basis::Hold(id));
        self.tally("taken");
    }
}
