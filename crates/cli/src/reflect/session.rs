//! One conversation with a server's reflection service.

use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Bytes, StdError, http::uri::PathAndQuery},
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ErrorResponse, ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse as Answer,
};

/// Both versions have the same messages; older servers know only the second name.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// An open conversation. Questions are asked one after the other.
#[derive(Debug)]
pub(crate) struct Session {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
    services: Vec<String>,
}

// === impl Session ===

impl Session {
    /// Opens a conversation by asking for the services; `prepare` may add options and headers to the call.
    ///
    /// # Errors
    ///
    /// UNIMPLEMENTED when the server offers no reflection; else why the call failed.
    pub(crate) async fn open<T>(channel: T, prepare: impl Fn(&mut Request<()>)) -> Result<Self, Status>
    where
        T: GrpcService<Body> + Clone,
        T::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
        <T::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
    {
        let mut refused = None;
        for path in PATHS {
            match Self::open_at(channel.clone(), PathAndQuery::from_static(path), &prepare).await {
                Err(status) if status.code() == Code::Unimplemented => refused = Some(status),
                other => return other,
            }
        }
        Err(refused.unwrap_or_else(|| Status::unimplemented("no reflection")))
    }

    /// The full names of the server's services.
    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }

    /// The file that defines a symbol, and perhaps the files it needs.
    ///
    /// # Errors
    ///
    /// NOT_FOUND when the server does not know it; else why there was no answer.
    pub(crate) async fn file_of(&mut self, symbol: &str) -> Result<Vec<FileDescriptorProto>, Status> {
        self.files(Ask::FileContainingSymbol(symbol.to_owned())).await
    }

    /// The file of a name.
    ///
    /// # Errors
    ///
    /// As [`file_of`](Self::file_of).
    pub(crate) async fn file(&mut self, name: &str) -> Result<Vec<FileDescriptorProto>, Status> {
        self.files(Ask::FileByFilename(name.to_owned())).await
    }

    async fn open_at<T>(
        channel: T,
        path: PathAndQuery,
        prepare: impl Fn(&mut Request<()>),
    ) -> Result<Self, Status>
    where
        T: GrpcService<Body>,
        T::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
        <T::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
    {
        let (questions, receiver) = mpsc::channel(1);
        let mut options = Request::new(());
        prepare(&mut options);
        let request = options.map(|()| ReceiverStream::new(receiver));
        // Many servers send their headers with the first answer, so the first question must be on its way before.
        let question = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(Ask::ListServices(String::new())),
        };
        questions.try_send(question).map_err(|_| closed())?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
        let codec: ProstCodec<ServerReflectionRequest, ServerReflectionResponse> = ProstCodec::default();
        let answers = grpc.streaming(request, path, codec).await?.into_inner();
        let mut session = Self { questions, answers, services: Vec::new() };
        match session.answer().await? {
            Answer::ListServicesResponse(list) => {
                session.services = list.service.into_iter().map(|service| service.name).collect();
                session.services.sort();
                Ok(session)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn files(&mut self, question: Ask) -> Result<Vec<FileDescriptorProto>, Status> {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        self.questions.send(question).await.map_err(|_| closed())?;
        match self.answer().await? {
            Answer::FileDescriptorResponse(files) => files
                .file_descriptor_proto
                .iter()
                .map(|bytes| prost::Message::decode(&bytes[..]))
                .collect::<Result<_, _>>()
                .map_err(|error| Status::internal(format!("the schema cannot be decoded: {error}"))),
            other => Err(unexpected(&other)),
        }
    }

    async fn answer(&mut self) -> Result<Answer, Status> {
        let answer = self.answers.message().await?.ok_or_else(closed)?;
        match answer.message_response {
            Some(Answer::ErrorResponse(ErrorResponse { error_code, error_message })) => {
                Err(Status::new(Code::from_i32(error_code), error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::internal("the server's reflection service gave an empty answer")),
        }
    }
}

fn closed() -> Status {
    Status::unavailable("the server ended the reflection call early")
}

fn unexpected(answer: &Answer) -> Status {
    let what = match answer {
        Answer::FileDescriptorResponse(_) => "files",
        Answer::AllExtensionNumbersResponse(_) => "extension numbers",
        Answer::ListServicesResponse(_) => "services",
        Answer::ErrorResponse(_) => "an error",
    };
    Status::internal(format!(
        "the server's reflection service answered with {what}, which was not the question"
    ))
}
