//! The patterns, with a fake environment. That gets overlap is shown by counting, not by a clock.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use futures::{
    FutureExt as _, executor::block_on, future::LocalBoxFuture, join, poll, task::noop_waker_ref,
};
use serde::Deserialize;

use super::{
    Binding, Cause, Environment, ErrorKind, Flaw, GET_TIMEOUT, Secret, SecretError, SecretErrors,
    Secrets,
};

/// What a fake binding does when it is asked.
#[derive(Clone)]
enum Does {
    Answer(&'static str),
    Null,
    Fail(ErrorKind),
    Hang,
}

/// An environment whose gets each wait for one turn of the executor, so that they can overlap.
#[derive(Clone, Default)]
struct Fake(Rc<FakeState>);

#[derive(Default)]
struct FakeState {
    bindings: RefCell<HashMap<&'static str, Does>>,
    gets: RefCell<Vec<&'static str>>,
    in_flight: Cell<usize>,
    most_in_flight: Cell<usize>,
    time_is_up: Cell<bool>,
    sleepers: RefCell<Vec<std::task::Waker>>,
    now: Cell<u64>,
    delays: Cell<usize>,
    longest_delay: Cell<Duration>,
}

struct FakeBinding {
    name: &'static str,
    does: Does,
    state: Rc<FakeState>,
}

impl Fake {
    fn with(bindings: impl IntoIterator<Item = (&'static str, Does)>) -> Self {
        let fake = Self::default();
        fake.0.bindings.borrow_mut().extend(bindings);
        fake
    }

    fn secrets(&self) -> Secrets<Self> {
        Secrets::new(self.clone())
    }

    /// Ends every delay.
    fn end_time(&self) {
        self.0.time_is_up.set(true);
        self.0.sleepers.take().into_iter().for_each(std::task::Waker::wake);
    }

    fn gets(&self) -> Vec<&'static str> {
        self.0.gets.borrow().clone()
    }
}

impl Environment for Fake {
    type Binding = FakeBinding;

    fn binding(&self, name: &str) -> Result<FakeBinding, ErrorKind> {
        let bindings = self.0.bindings.borrow();
        let (name, does) = bindings.get_key_value(name).ok_or(ErrorKind::NotBound)?;
        Ok(FakeBinding { name, does: does.clone(), state: self.0.clone() })
    }

    fn delay(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        self.0.longest_delay.set(duration);
        self.0.delays.set(self.0.delays.get() + 1);
        let state = self.0.clone();
        std::future::poll_fn(move |context| {
            if state.time_is_up.get() {
                return std::task::Poll::Ready(());
            }
            state.sleepers.borrow_mut().push(context.waker().clone());
            std::task::Poll::Pending
        })
        .boxed_local()
    }

    fn now(&self) -> u64 {
        self.0.now.get()
    }
}

impl Binding for FakeBinding {
    async fn get(&self) -> Result<Option<Secret>, ErrorKind> {
        let state = &self.state;
        state.gets.borrow_mut().push(self.name);
        state.in_flight.set(state.in_flight.get() + 1);
        state.most_in_flight.set(state.most_in_flight.get().max(state.in_flight.get()));
        let mut woken = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut woken, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        state.in_flight.set(state.in_flight.get() - 1);
        match &self.does {
            Does::Answer(value) => Ok(Some(Secret::from((*value).to_owned()))),
            Does::Null => Ok(None),
            Does::Fail(kind) => Err(kind.clone()),
            Does::Hang => std::future::pending().await,
        }
    }
}

fn error(binding: &str, kind: ErrorKind) -> SecretError {
    SecretError { binding: binding.to_owned(), kind }
}

fn value(secret: &Secret) -> String {
    secret.expose_secret().to_string()
}

#[test]
fn a_secret_is_had_by_its_bindings_name() {
    let fake = Fake::with([("API_KEY", Does::Answer("sk_1"))]);
    let secret = block_on(fake.secrets().get("API_KEY")).unwrap();
    assert_eq!(value(&secret), "sk_1");
}

#[test]
fn each_way_to_fail_is_an_error_of_its_own_that_names_the_binding() {
    let failed = ErrorKind::Failed(Cause::ConnectionLost);
    for (does, kind) in [
        (Does::Null, ErrorKind::Null),
        (Does::Answer(""), ErrorKind::Empty),
        (Does::Answer("sk_1\n"), ErrorKind::NotHeaderSafe(Flaw::OuterWhiteSpace)),
        (Does::Answer("sk\r\n_1"), ErrorKind::NotHeaderSafe(Flaw::ControlCharacter)),
        (Does::Fail(ErrorKind::NotFound), ErrorKind::NotFound),
        (Does::Fail(failed.clone()), failed),
    ] {
        let fake = Fake::with([("API_KEY", does)]);
        let got = block_on(fake.secrets().get("API_KEY")).unwrap_err();
        assert_eq!(got, error("API_KEY", kind));
        assert!(!got.to_string().contains("sk"), "{got}");
    }
    let got = block_on(Fake::default().secrets().get("API_KEY")).unwrap_err();
    assert_eq!(got, error("API_KEY", ErrorKind::NotBound));
}

#[test]
fn gets_that_start_together_have_one_deadline_and_a_later_one_its_own() {
    let fake = Fake::with([("A", Does::Hang), ("B", Does::Hang), ("C", Does::Hang)]);
    let secrets = fake.secrets();
    block_on(async {
        let (a, b) = (secrets.get("A"), secrets.get("B"));
        futures::pin_mut!(a, b);
        assert!(poll!(a.as_mut()).is_pending() && poll!(b.as_mut()).is_pending());
        assert_eq!(fake.0.delays.get(), 1);
        fake.0.now.set(4999);
        let c = secrets.get("C");
        futures::pin_mut!(c);
        assert!(poll!(c.as_mut()).is_pending());
        assert_eq!(fake.0.delays.get(), 2);
        fake.end_time();
        let (a, b, c) = join!(a, b, c);
        assert!(
            [a, b, c].iter().all(|it| it.as_ref().is_err_and(|it| it.kind == ErrorKind::TimedOut))
        );
    });
}

#[test]
fn a_get_that_hangs_fails_when_its_time_is_up() {
    let fake = Fake::with([("SLOW", Does::Hang)]);
    let secrets = fake.secrets();
    let mut get = Box::pin(secrets.get("SLOW"));
    let mut context = std::task::Context::from_waker(noop_waker_ref());
    for _ in 0..3 {
        assert!(get.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(fake.0.longest_delay.get(), GET_TIMEOUT);
    fake.end_time();
    let std::task::Poll::Ready(result) = get.as_mut().poll(&mut context) else {
        panic!("it hangs on");
    };
    assert_eq!(result.unwrap_err(), error("SLOW", ErrorKind::TimedOut));
}

#[test]
fn text_may_hold_line_breaks_but_not_be_empty() {
    let fake =
        Fake::with([("PEM", Does::Answer("-----\nkey\n-----\n")), ("NONE", Does::Answer(""))]);
    let secrets = fake.secrets();
    assert_eq!(value(&block_on(secrets.get_text("PEM")).unwrap()), "-----\nkey\n-----\n");
    assert_eq!(block_on(secrets.get_text("NONE")).unwrap_err(), error("NONE", ErrorKind::Empty));
}

#[test]
fn a_binding_is_fetched_once_for_a_request_however_often_it_is_asked_for() {
    let fake = Fake::with([("A", Does::Answer("1")), ("B", Does::Null)]);
    let secrets = fake.secrets();
    block_on(async {
        let (first, second, third) =
            join!(secrets.get("A"), secrets.get("A"), secrets.get_text("A"));
        assert_eq!([first, second, third].map(|it| value(&it.unwrap())), ["1", "1", "1"]);
        secrets.get("A").await.unwrap();
        // A failure is remembered too: asking again within the request would not change it.
        secrets.get("B").await.unwrap_err();
        secrets.get("B").await.unwrap_err();
    });
    assert_eq!(fake.gets(), ["A", "B"]);
}

#[test]
fn the_next_request_fetches_anew() {
    let fake = Fake::with([("A", Does::Answer("old"))]);
    assert_eq!(value(&block_on(fake.secrets().get("A")).unwrap()), "old");
    fake.0.bindings.borrow_mut().insert("A", Does::Answer("new"));
    assert_eq!(value(&block_on(fake.secrets().get("A")).unwrap()), "new");
    assert_eq!(fake.gets(), ["A", "A"]);
}

#[test]
fn nobody_who_waits_is_forgotten_when_another_stops_waiting() {
    let fake = Fake::with([("A", Does::Answer("1"))]);
    let secrets = fake.secrets();
    block_on(async {
        let mut impatient = Box::pin(secrets.get("A"));
        assert!(poll!(impatient.as_mut()).is_pending());
        let patient = secrets.get("A");
        drop(impatient);
        assert_eq!(value(&patient.await.unwrap()), "1");
    });
    assert_eq!(fake.gets(), ["A"]);
}

#[test]
fn the_fallback_is_not_asked_for_while_the_primary_works() {
    let fake = Fake::with([("NEW", Does::Answer("new")), ("OLD", Does::Answer("old"))]);
    let secret = block_on(fake.secrets().get_with_fallback("NEW", Some("OLD"))).unwrap();
    assert_eq!(value(&secret), "new");
    assert_eq!(fake.gets(), ["NEW"]);
}

#[test]
fn the_fallback_is_used_whatever_the_primary_fails_with() {
    for does in [
        Does::Null,
        Does::Answer(""),
        Does::Answer("line break\n"),
        Does::Fail(ErrorKind::NotFound),
        Does::Fail(ErrorKind::Failed(Cause::Unknown)),
        Does::Fail(ErrorKind::TimedOut),
    ] {
        let fake = Fake::with([("NEW", does), ("OLD", Does::Answer("old"))]);
        let secret = block_on(fake.secrets().get_with_fallback("NEW", Some("OLD"))).unwrap();
        assert_eq!(value(&secret), "old");
    }
    let fake = Fake::with([("OLD", Does::Answer("old"))]);
    let secret = block_on(fake.secrets().get_with_fallback("NOT_BOUND", Some("OLD"))).unwrap();
    assert_eq!(value(&secret), "old");
}

#[test]
fn when_both_fail_the_error_tells_both() {
    let fake = Fake::with([("NEW", Does::Null)]);
    let secrets = fake.secrets();
    assert_eq!(
        block_on(secrets.get_with_fallback("NEW", Some("OLD"))).unwrap_err(),
        SecretErrors(vec![error("NEW", ErrorKind::Null), error("OLD", ErrorKind::NotBound)])
    );
    assert_eq!(
        block_on(secrets.get_with_fallback("NEW", None)).unwrap_err(),
        SecretErrors(vec![error("NEW", ErrorKind::Null)])
    );
}

#[test]
fn a_batch_is_fetched_all_at_once_and_keeps_its_order() {
    let names = ["S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7"];
    let fake = Fake::with(names.map(|name| (name, Does::Answer(name))));
    let secrets = block_on(fake.secrets().get_all(names)).unwrap();
    assert_eq!(secrets.each_ref().map(value), names);
    assert_eq!(fake.0.most_in_flight.get(), names.len());
}

#[test]
fn a_batch_fails_as_a_whole_and_lists_every_binding_that_failed() {
    let fake = Fake::with([("A", Does::Answer("1")), ("B", Does::Null), ("D", Does::Answer(""))]);
    assert_eq!(
        block_on(fake.secrets().get_all(["A", "B", "C", "D"])).unwrap_err(),
        SecretErrors(vec![
            error("B", ErrorKind::Null),
            error("C", ErrorKind::NotBound),
            error("D", ErrorKind::Empty),
        ])
    );
}

#[test]
fn a_settled_batch_has_a_result_for_each() {
    let fake = Fake::with([("A", Does::Answer("1")), ("C", Does::Answer("3"))]);
    let results = block_on(fake.secrets().get_all_settled(vec!["A", "B", "C"]));
    assert_eq!(value(results[0].as_ref().unwrap()), "1");
    assert_eq!(results[1].as_ref().unwrap_err(), &error("B", ErrorKind::NotBound));
    assert_eq!(value(results[2].as_ref().unwrap()), "3");
}

#[test]
fn json_is_parsed_and_an_error_in_it_tells_where_and_quotes_nothing() {
    #[derive(Deserialize, Debug)]
    struct Account {
        id: u32,
        key: Secret,
    }
    let fake = Fake::with([
        ("ACCOUNT", Does::Answer("{\"id\": 7, \"key\": \"sk_1\"}\n")),
        ("BROKEN", Does::Answer("{\"id\": 7,\n \"key\": 123456}")),
    ]);
    let secrets = fake.secrets();
    let account: Account = block_on(secrets.get_json("ACCOUNT")).unwrap();
    assert_eq!((account.id, value(&account.key)), (7, "sk_1".to_owned()));
    let error = block_on(secrets.get_json::<Account>("BROKEN")).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::InvalidJson { line: 2, .. }), "{error}");
    assert!(!error.to_string().contains("123456"), "{error}");
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Keys {
    api_key: Secret,
    previous: Option<Secret>,
    #[serde(rename = "LIMITS")]
    limits: Limits,
    extra: Option<Vec<u8>>,
}

#[derive(Deserialize, Debug)]
struct Limits {
    per_second: u32,
}

#[test]
fn a_struct_is_filled_from_bindings_all_fetched_at_once() {
    let fake = Fake::with([
        ("API_KEY", Does::Answer("sk_1")),
        ("PREVIOUS", Does::Answer("sk_0")),
        ("LIMITS", Does::Answer("{\"per_second\": 5}\n")),
        ("EXTRA", Does::Answer("[1, 2]")),
    ]);
    let keys: Keys = block_on(fake.secrets().load()).unwrap();
    assert_eq!(value(&keys.api_key), "sk_1");
    assert_eq!(value(&keys.previous.unwrap()), "sk_0");
    assert_eq!(keys.limits.per_second, 5);
    assert_eq!(keys.extra.unwrap(), [1, 2]);
    assert_eq!(fake.0.most_in_flight.get(), 4);
    assert_eq!(fake.gets().len(), 4);
}

#[test]
fn an_optional_field_may_be_missing_but_not_fail() {
    let bindings =
        [("API_KEY", Does::Answer("sk_1")), ("LIMITS", Does::Answer("{\"per_second\":1}"))];
    let fake = Fake::with(bindings.clone());
    let keys: Keys = block_on(fake.secrets().load()).unwrap();
    assert!(keys.previous.is_none() && keys.extra.is_none());

    let fake = Fake::with(bindings.clone());
    fake.0.bindings.borrow_mut().insert("PREVIOUS", Does::Fail(ErrorKind::NotFound));
    assert!(block_on(fake.secrets().load::<Keys>()).unwrap().previous.is_none());

    fake.0.bindings.borrow_mut().insert("PREVIOUS", Does::Fail(ErrorKind::TimedOut));
    let errors = block_on(fake.secrets().load::<Keys>()).unwrap_err();
    assert_eq!(errors.0, [error("PREVIOUS", ErrorKind::TimedOut)]);
}

#[test]
fn a_struct_that_cannot_be_filled_tells_every_binding_that_failed() {
    let fake = Fake::with([("API_KEY", Does::Answer("sk_1\n")), ("EXTRA", Does::Null)]);
    let errors = block_on(fake.secrets().load::<Keys>()).unwrap_err();
    assert_eq!(
        errors.0,
        [
            error("API_KEY", ErrorKind::NotHeaderSafe(Flaw::OuterWhiteSpace)),
            error("LIMITS", ErrorKind::NotBound),
            error("EXTRA", ErrorKind::Null),
        ]
    );
}

#[test]
fn a_field_with_the_wrong_json_is_named_and_not_quoted() {
    let fake = Fake::with([
        ("API_KEY", Does::Answer("sk_1")),
        ("LIMITS", Does::Answer("{\"per_second\": \"sk_2\"}")),
    ]);
    let errors = block_on(fake.secrets().load::<Keys>()).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert_eq!(errors.0[0].binding, "LIMITS");
    assert!(matches!(errors.0[0].kind, ErrorKind::InvalidJson { line: 1, .. }));
    assert!(!errors.to_string().contains("sk_2"));
}

#[test]
fn text_after_the_json_of_a_field_is_an_error() {
    let fake = Fake::with([
        ("API_KEY", Does::Answer("sk_1")),
        ("LIMITS", Does::Answer("{\"per_second\":1} x")),
    ]);
    let errors = block_on(fake.secrets().load::<Keys>()).unwrap_err();
    assert!(matches!(errors.0[0].kind, ErrorKind::InvalidJson { .. }));
}

#[test]
fn a_plain_string_is_refused_and_so_is_what_is_no_struct() {
    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "its type is what matters")]
    struct Careless {
        api_key: String,
        other: Option<String>,
    }
    let fake = Fake::default();
    let errors = block_on(fake.secrets().load::<Careless>()).unwrap_err();
    let bindings: Vec<&str> = errors.0.iter().map(|error| error.binding.as_str()).collect();
    assert_eq!(bindings, ["api_key", "other"]);
    assert!(errors.to_string().contains("declare it as `Secret`"));
    assert!(fake.gets().is_empty());

    let errors = block_on(fake.secrets().load::<HashMap<String, Secret>>()).unwrap_err();
    assert!(errors.to_string().contains("structs with named fields"));
}
