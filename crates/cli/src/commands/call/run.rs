//! The course of `callsign call`: schema, bodies, calls, replies.

use std::sync::{Arc, Mutex, PoisonError};

use callsign::client::CallRef;
use futures_util::{Stream, StreamExt as _, stream};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};

use super::{
    Args, Dial, Recorder,
    body::{Bodies, Source},
    explained::Explained,
    outcome,
};
use crate::{
    context::Context,
    error::{CliError, Result},
    output::{Format, Out},
    reflect::{DynamicCodec, Reply, Schema, Session, Shape, assign, find, read},
};

/// One reply may have so many bytes: more than a terminal is good for, and less than memory.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// All that the calls of one command have in common.
struct Caller<'a> {
    dial: &'a Dial,
    method: &'a MethodDescriptor,
    out: Out,
    /// One reply is printed over many lines, many are printed on one each.
    pretty: bool,
    quiet: bool,
    /// How to say why each call went where it went, if that is asked for.
    explain: Option<Out>,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let fields = args.fields()?;
    let sources: Vec<_> = args.data.iter().map(|data| Source::parse(data)).collect();
    if sources.iter().filter(|source| **source == Source::Stdin).count() > 1 {
        return Err(CliError::usage("stdin can be read once only, and -d @- is there twice"));
    }
    // What cannot be read is told before anybody is called.
    let bodies = Bodies::read(&sources)?;
    let dial = Dial::call(args, context).await?;
    let explain = args.explain.then(|| Out { format: Some(context.out.format()), ..context.out });
    let schema = match load(&dial).await {
        Ok(schema) => schema,
        Err(status) => {
            say_why(&dial, explain)?;
            return Err(outcome::no_schema(dial.target(), &status));
        }
    };
    let method = find(&schema, &args.method)?;
    let out = Out { format: context.out.format.or(Some(Format::Json)), ..context.out };
    let pretty = !Shape::of(&method).gives_many() && !sources.contains(&Source::Stdin);
    let caller = Caller { dial: &dial, method: &method, out, pretty, quiet: args.quiet, explain };
    let messages = messages(bodies, method.clone(), sources.is_empty(), fields);
    let result = if Shape::of(&method).takes_many() {
        caller.call_with_all(messages).await
    } else {
        caller.call_with_each(messages).await
    };
    dial.close().await;
    result
}

// === impl Args ===

impl Args {
    fn fields(&self) -> Result<Vec<(String, String)>> {
        let split = |pair: &String| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                CliError::usage(format!("--field {pair:?} has no value"))
                    .hint("write it like --field name=World, or --name World")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        self.field.iter().map(split).collect()
    }
}

// === impl Caller ===

impl Caller<'_> {
    /// One call for each message.
    async fn call_with_each(&self, messages: impl Stream<Item = Result<DynamicMessage>>) -> Result<()> {
        let mut messages = std::pin::pin!(messages);
        while let Some(message) = messages.next().await {
            let message = message?;
            self.call(stream::iter([message])).await?;
        }
        Ok(())
    }

    /// One call with all messages. A message that cannot be sent ends the call, without the server taking what it has seen
    /// for the whole.
    async fn call_with_all(
        &self,
        messages: impl Stream<Item = Result<DynamicMessage>> + Send + 'static,
    ) -> Result<()> {
        let (failed, failure) = oneshot::channel();
        let failed = Arc::new(Mutex::new(Some(failed)));
        let good = messages.filter_map(move |message| {
            let failed = failed.clone();
            async move {
                match message {
                    Ok(message) => Some(message),
                    Err(error) => {
                        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                        let _ = failed.map(|failed| failed.send(error));
                        std::future::pending().await
                    }
                }
            }
        });
        tokio::select! {
            biased;
            Ok(error) = failure => Err(error),
            result = self.call(good) => result,
        }
    }

    /// One call: sends messages, prints replies, and says who answered.
    async fn call(&self, messages: impl Stream<Item = DynamicMessage> + Send + 'static) -> Result<()> {
        let mut request = Request::new(messages);
        self.dial.prepare(&mut request);
        let path = format!("/{}/{}", self.method.parent_service().full_name(), self.method.name());
        let path = PathAndQuery::try_from(path)
            .map_err(|error| CliError::usage("the method's name fits into no request").because_of(&error))?;
        let channel = Recorder::new(self.dial.channel());
        let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX);
        let codec = DynamicCodec::new(self.method.output());
        let late = tokio::time::sleep_until(self.dial.deadline());
        let response = tokio::select! {
            biased;
            response = grpc.streaming(request, path, codec) => response,
            () = late => Err(Status::deadline_exceeded("no reply within the timeout")),
        };
        let result = match response {
            Ok(response) => self.print_all(response.into_inner()).await,
            Err(status) => Ok(Some(status)),
        };
        let report = channel.take();
        if let (Some(report), false) = (&report, self.quiet) {
            self.out.note(&outcome::line(report));
        }
        say_why(self.dial, self.explain)?;
        match result? {
            None => Ok(()),
            Some(status) => Err(outcome::failure(self.method, &status, report.as_ref())),
        }
    }

    /// Prints replies as they come; gives the status if it is not OK.
    async fn print_all(&self, mut replies: tonic::Streaming<DynamicMessage>) -> Result<Option<Status>> {
        loop {
            let reply = match replies.message().await {
                Ok(Some(reply)) => Reply::new(&reply)?,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            };
            if self.pretty {
                self.out.print(&reply)?;
            } else {
                self.out.print_item(&reply)?;
            }
        }
    }
}

/// Asks a node for the schema of the service.
async fn load(dial: &Dial) -> Result<Schema, Status> {
    let mut session = Session::open(dial.channel(), |request| dial.prepare(request)).await?;
    Schema::load(&mut session).await
}

/// Says why the last call went where it went, if that is asked for.
fn say_why(dial: &Dial, explain: Option<Out>) -> Result<()> {
    match explain.zip(dial.channel().explain_call(CallRef::Last)) {
        Some((out, explanation)) => out.tell(&Explained(explanation)),
        None => Ok(()),
    }
}

/// The messages to send: each body with the fields put in; without any body, one that the fields make up.
fn messages(
    bodies: Bodies,
    method: MethodDescriptor,
    empty: bool,
    fields: Vec<(String, String)>,
) -> impl Stream<Item = Result<DynamicMessage>> + Send + 'static {
    let first = stream::iter(empty.then(|| Ok(Value::Object(Map::new()))));
    let rest = stream::unfold(bodies, |mut bodies| async { Some((bodies.next().await?, bodies)) });
    first.chain(rest).map(move |body| {
        let mut body = body?;
        assign(&method.input(), &mut body, &fields)?;
        read(&method.input(), &body)
    })
}
