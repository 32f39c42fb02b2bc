//! `farewell.account.v1.AccountService`: each handler parses, makes one call, and converts.

use std::pin::Pin;
use std::sync::Arc;

use farewell_core::order::Disposal;
use farewell_proto::account::v1 as api;
use farewell_proto::account::v1::account_service_server::AccountService;
use farewell_proto::deletion::v1 as deletion;
use farewell_runtime::shutdown::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::case::CaseName;
use super::download::Downloads;
use super::explain::Explain as _;
use super::unbinding::{self, Name, Wish};
use super::{CHANGE_MAX, READ_MAX, parse, within};
use super::{change, export, transfer};
use crate::admission::peer_of;
use crate::center::Center;
use crate::error;
use farewell_interpreter::Language;

/// Watchers of one coordinator: each asks the product line again and again.
const WATCHERS_MAX: usize = 256;
/// Changes that a slow watcher may be behind.
const QUEUE_MESSAGES_MAX: usize = 16;
/// How often an unbinding is looked at: devices take seconds to days.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// See the module.
pub struct Accounts {
    center: Arc<Center>,
    shutdown: Shutdown,
    seats: Arc<Semaphore>,
    downloads: Downloads,
}

impl Accounts {
    /// The service over this center.
    pub fn new(center: Arc<Center>, shutdown: Shutdown) -> Self {
        Self {
            center,
            shutdown,
            seats: Arc::new(Semaphore::new(WATCHERS_MAX)),
            downloads: Downloads::default(),
        }
    }
}

impl Accounts {
    /// A watcher's place.
    fn seat(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| {
            error::exhausted(
                "TOO_MANY_WATCHERS",
                "this coordinator has all the watchers that it can hold",
            )
        })
    }

    /// Whether any policy names the line.
    fn known(&self, name: &Name, field: &str) -> Result<(), Status> {
        if self.center.plans.know(&name.line) {
            Ok(())
        } else {
            Err(error::invalid(
                field,
                "must be of a product line that is known",
            ))
        }
    }
}

type Reply<T> = Result<Response<T>, Status>;
type Download = Pin<Box<dyn Stream<Item = Result<api::DownloadExportResponse, Status>> + Send>>;
type WatchChange =
    Pin<Box<dyn Stream<Item = Result<api::WatchAccountChangeResponse, Status>> + Send>>;
type Watch = Pin<Box<dyn Stream<Item = Result<api::WatchDeviceUnbindingResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AccountService for Accounts {
    type DownloadExportStream = Download;
    type WatchDeviceUnbindingStream = Watch;
    type WatchAccountChangeStream = WatchChange;

    async fn get_account(
        &self,
        request: Request<api::GetAccountRequest>,
    ) -> Reply<api::GetAccountResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let account = parse::account("name", &request.name)?;
        let account = within(CHANGE_MAX, change::get(&self.center, &account)).await?;
        Ok(language.respond(api::GetAccountResponse {
            account: Some(account.explained(language)),
        }))
    }

    async fn freeze_account(
        &self,
        request: Request<api::FreezeAccountRequest>,
    ) -> Reply<api::FreezeAccountResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::freeze(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::FreezeAccountResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn unfreeze_account(
        &self,
        request: Request<api::UnfreezeAccountRequest>,
    ) -> Reply<api::UnfreezeAccountResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::unfreeze(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::UnfreezeAccountResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn memorialize_account(
        &self,
        request: Request<api::MemorializeAccountRequest>,
    ) -> Reply<api::MemorializeAccountResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::memorialize(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::MemorializeAccountResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn unmemorialize_account(
        &self,
        request: Request<api::UnmemorializeAccountRequest>,
    ) -> Reply<api::UnmemorializeAccountResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::unmemorialize(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::UnmemorializeAccountResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn stop_personalization(
        &self,
        request: Request<api::StopPersonalizationRequest>,
    ) -> Reply<api::StopPersonalizationResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::stop_personalization(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::StopPersonalizationResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn clear_real_name(
        &self,
        request: Request<api::ClearRealNameRequest>,
    ) -> Reply<api::ClearRealNameResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::clear_real_name(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::ClearRealNameResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn transfer_belongings(
        &self,
        request: Request<api::TransferBelongingsRequest>,
    ) -> Reply<api::TransferBelongingsResponse> {
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let transfer = transfer::transfer(&self.center, caller.as_deref(), &request);
        Ok(Response::new(api::TransferBelongingsResponse {
            transfer: Some(within(CHANGE_MAX, transfer).await?),
        }))
    }

    async fn verify_account_factor(
        &self,
        request: Request<api::VerifyAccountFactorRequest>,
    ) -> Reply<api::VerifyAccountFactorResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::verify(&self.center, caller.as_deref(), &request);
        Ok(language.respond(api::VerifyAccountFactorResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn send_account_code(
        &self,
        request: Request<api::SendAccountCodeRequest>,
    ) -> Reply<api::SendAccountCodeResponse> {
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let sent = change::send_code(&self.center, caller.as_deref(), &request);
        within(CHANGE_MAX, sent).await.map(Response::new)
    }

    async fn check_real_name_clearing(
        &self,
        request: Request<api::CheckRealNameClearingRequest>,
    ) -> Reply<api::CheckRealNameClearingResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let account = parse::account("account", &request.account)?;
        let found = change::check_clearing(&self.center, &account);
        let found = within(CHANGE_MAX, found).await?;
        Ok(language.respond(found.explained(language)))
    }

    async fn review_real_name_clearing(
        &self,
        request: Request<api::ReviewRealNameClearingRequest>,
    ) -> Reply<api::ReviewRealNameClearingResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let change = change::review(&self.center, &request);
        Ok(language.respond(api::ReviewRealNameClearingResponse {
            change: Some(within(CHANGE_MAX, change).await?.explained(language)),
        }))
    }

    async fn get_account_change(
        &self,
        request: Request<api::GetAccountChangeRequest>,
    ) -> Reply<api::GetAccountChangeResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = change::name(&request.name)?;
        let change = within(READ_MAX, change::look(&self.center, &name)).await?;
        Ok(language.respond(api::GetAccountChangeResponse {
            change: Some(change.explained(language)),
        }))
    }

    async fn watch_account_change(
        &self,
        request: Request<api::WatchAccountChangeRequest>,
    ) -> Reply<Self::WatchAccountChangeStream> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = change::name(&request.name)?;
        let seat = self.seat()?;
        let first = within(READ_MAX, change::look(&self.center, &name)).await?;
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (center, shutdown) = (Arc::clone(&self.center), self.shutdown.clone());
        self.shutdown.spawn(async move {
            let watched = watch_change(&center, (&name, language), first, &sender, seat);
            tokio::select! {
                () = shutdown.wait() => {}
                () = sender.closed() => {}
                () = watched => {}
            }
        });
        Ok(language.respond(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn unbind_device(
        &self,
        request: Request<api::UnbindDeviceRequest>,
    ) -> Reply<api::UnbindDeviceResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let wish = wish(&request)?;
        self.known(&wish.name, "line")?;
        let unbinding = within(CHANGE_MAX, unbinding::unbind(&self.center, wish)).await?;
        Ok(language.respond(api::UnbindDeviceResponse {
            device_unbinding: Some(unbinding.explained(language)),
        }))
    }

    async fn get_device_unbinding(
        &self,
        request: Request<api::GetDeviceUnbindingRequest>,
    ) -> Reply<api::GetDeviceUnbindingResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = name(&request.name)?;
        self.known(&name, "name")?;
        let account = parse::account("account", &request.account)?;
        let look = unbinding::look(&self.center, &name, &account);
        Ok(language.respond(api::GetDeviceUnbindingResponse {
            device_unbinding: Some(within(CHANGE_MAX, look).await?.explained(language)),
        }))
    }

    async fn watch_device_unbinding(
        &self,
        request: Request<api::WatchDeviceUnbindingRequest>,
    ) -> Reply<Watch> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = name(&request.name)?;
        self.known(&name, "name")?;
        let account = parse::account("account", &request.account)?;
        let seat = self.seat()?;
        let first = within(CHANGE_MAX, unbinding::look(&self.center, &name, &account)).await?;
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (center, shutdown) = (Arc::clone(&self.center), self.shutdown.clone());
        self.shutdown.spawn(async move {
            let watched = watch(&center, (name, account, language), first, &sender, seat);
            tokio::select! {
                () = shutdown.wait() => {}
                () = sender.closed() => {}
                () = watched => {}
            }
        });
        Ok(language.respond(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn start_export(
        &self,
        request: Request<api::StartExportRequest>,
    ) -> Reply<api::StartExportResponse> {
        let language = Language::of(request.metadata());
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let name = export::Name(parse::request_id(&request.request_id)?);
        let account = parse::account("account", &request.account)?;
        let case = (!request.case.is_empty()).then(|| CaseName::parse("case", &request.case));
        let case = case.transpose()?;
        self.center.throttle.account(caller.as_deref(), &account)?;
        let start = export::start(&self.center, &name, &account, language, case);
        Ok(language.respond(api::StartExportResponse {
            export: Some(within(CHANGE_MAX, start).await?.explained(language)),
        }))
    }

    async fn get_export(
        &self,
        request: Request<api::GetExportRequest>,
    ) -> Reply<api::GetExportResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = export_name(&request.name)?;
        let account = parse::account("account", &request.account)?;
        let get = export::get(&self.center, &name, &account);
        Ok(language.respond(api::GetExportResponse {
            export: Some(within(READ_MAX, get).await?.explained(language)),
        }))
    }

    async fn cancel_export(
        &self,
        request: Request<api::CancelExportRequest>,
    ) -> Reply<api::CancelExportResponse> {
        let language = Language::of(request.metadata());
        let request = request.into_inner();
        parse::size(&request)?;
        let name = export_name(&request.name)?;
        let account = parse::account("account", &request.account)?;
        let cancel = export::cancel(&self.center, &name, &account);
        Ok(language.respond(api::CancelExportResponse {
            export: Some(within(CHANGE_MAX, cancel).await?.explained(language)),
        }))
    }

    async fn download_export(
        &self,
        request: Request<api::DownloadExportRequest>,
    ) -> Reply<Download> {
        let caller = peer_of(&request);
        self.center.throttle.caller(caller.as_deref())?;
        let request = request.into_inner();
        parse::size(&request)?;
        let name = export_name(&request.name)?;
        let account = parse::account("account", &request.account)?;
        if request.offset < 0 {
            return Err(error::invalid("offset", "must be at least 0"));
        }
        self.center.throttle.account(caller.as_deref(), &account)?;
        let begun = self
            .downloads
            .begin(&self.center, name, account, request.offset);
        let (download, pieces) = begun.await?;
        let (center, shutdown) = (Arc::clone(&self.center), self.shutdown.clone());
        self.shutdown.spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = download.carry(&center) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }
}

fn export_name(text: &str) -> Result<export::Name, Status> {
    text.parse()
        .map_err(|()| error::invalid("name", "must be exports/{export}"))
}

type Sender = mpsc::Sender<Result<api::WatchDeviceUnbindingResponse, Status>>;

/// Tells what is new of a change until it is over.
async fn watch_change(
    center: &Center,
    (name, language): (&change::Name, Language),
    first: api::AccountChange,
    sender: &mpsc::Sender<Result<api::WatchAccountChangeResponse, Status>>,
    _seat: OwnedSemaphorePermit,
) {
    let mut shown = None;
    let mut found: Result<_, Status> = Ok(first);
    loop {
        match found {
            Ok(change) => {
                let over = change::is_over(&change);
                if shown.as_ref() != Some(&change) {
                    shown = Some(change.clone());
                    let told = api::WatchAccountChangeResponse {
                        change: Some(change.explained(language)),
                    };
                    if sender.send(Ok(told)).await.is_err() {
                        return;
                    }
                }
                if over {
                    return;
                }
            }
            // The ledger is away: the watcher waits with us.
            Err(status) if status.code() == Code::Unavailable => {}
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        found = change::look(center, name).await;
    }
}

/// Tells what is new until it is over.
async fn watch(
    center: &Center,
    (name, account, language): (Name, farewell_core::AccountId, Language),
    first: api::DeviceUnbinding,
    sender: &Sender,
    _seat: OwnedSemaphorePermit,
) {
    let mut shown = None;
    let mut found: Result<_, Status> = Ok(first);
    loop {
        match found {
            Ok(unbinding) => {
                let over = unbinding::is_over(&unbinding, center.clock.now());
                if shown.as_ref() != Some(&unbinding) {
                    shown = Some(unbinding.clone());
                    let told = api::WatchDeviceUnbindingResponse {
                        device_unbinding: Some(unbinding.explained(language)),
                    };
                    if sender.send(Ok(told)).await.is_err() {
                        return;
                    }
                }
                if over {
                    return;
                }
            }
            // The line is away: the watcher waits with us.
            Err(status) if status.code() == Code::Unavailable => {}
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        found = unbinding::look(center, &name, &account).await;
    }
}

fn wish(request: &api::UnbindDeviceRequest) -> Result<Wish, Status> {
    let line = request
        .line
        .strip_prefix("lines/")
        .ok_or_else(|| error::invalid("line", "must be lines/{line}"))?;
    if request.epoch == 0 {
        return Err(error::invalid(
            "epoch",
            "must be the epoch of the binding, which is at least 1",
        ));
    }
    Ok(Wish {
        name: Name {
            line: parse::participant("line", line)?,
            request: parse::request_id(&request.request_id)?,
        },
        account: parse::account("account", &request.account)?,
        device: crate::wire::device::id(&request.device).ok_or_else(|| {
            error::invalid(
                "device",
                "must be devices/{device}, 1 to 64 characters of A-Z a-z 0-9 _ -",
            )
        })?,
        epoch: request.epoch,
        disposal: if request.wipe {
            Disposal::Reset
        } else {
            Disposal::Unbind
        },
        case: case(request)?,
    })
}

/// The desk's case. `None`: the person asks without anybody who looks at it.
fn case(request: &api::UnbindDeviceRequest) -> Result<Option<CaseName>, Status> {
    use deletion::Channel;
    match (Channel::try_from(request.channel), request.case.as_str()) {
        (Ok(Channel::Unspecified | Channel::Phone | Channel::Web), "") => Ok(None),
        (Ok(Channel::Unspecified | Channel::Phone | Channel::Web), _) => {
            Err(error::invalid("case", "must be empty but with SUPPORT"))
        }
        (Ok(Channel::Support), name) => CaseName::parse("case", name).map(Some),
        // What a repair shop says of itself opens no door: the device says it, to its product line.
        (Ok(Channel::ServiceCentre | Channel::Legacy), _) | (Err(_), _) => {
            Err(error::invalid("channel", "must be PHONE, WEB or SUPPORT"))
        }
    }
}

fn name(text: &str) -> Result<Name, Status> {
    text.parse().map_err(|()| {
        error::invalid(
            "name",
            "must be lines/{line}/deviceUnbindings/{device_unbinding}",
        )
    })
}
