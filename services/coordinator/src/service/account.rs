//! `farewell.account.v1.AccountService`: each handler parses, makes one call, and converts.

use std::pin::Pin;
use std::sync::Arc;

use farewell_core::order::Disposal;
use farewell_proto::account::v1 as api;
use farewell_proto::account::v1::account_service_server::AccountService;
use farewell_proto::deletion::v1 as deletion;
use farewell_runtime::shutdown::Shutdown;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::case::CaseName;
use super::download::Downloads;
use super::explain::Explain as _;
use super::looking::{Watch, Watchers};
use super::unbinding::{self, Name, Wish};
use super::{CHANGE_MAX, READ_MAX, parse, within};
use super::{change, export, transfer};
use crate::center::Center;
use crate::error;

/// See the module.
pub struct Accounts {
    center: Arc<Center>,
    shutdown: Shutdown,
    watchers: Watchers,
    downloads: Downloads,
}

impl Accounts {
    /// The service over this center.
    pub fn new(center: Arc<Center>, shutdown: Shutdown) -> Self {
        Self {
            watchers: Watchers::new(Arc::clone(&center), shutdown.clone()),
            center,
            shutdown,
            downloads: Downloads::default(),
        }
    }
}

impl Accounts {
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

#[tonic::async_trait]
impl AccountService for Accounts {
    type DownloadExportStream = Download;
    type WatchDeviceUnbindingStream = Watch<api::WatchDeviceUnbindingResponse>;
    type WatchAccountChangeStream = Watch<api::WatchAccountChangeResponse>;

    async fn get_account(
        &self,
        request: Request<api::GetAccountRequest>,
    ) -> Reply<api::GetAccountResponse> {
        let call = Call::of(request)?;
        let account = parse::account("name", &call.request.name)?;
        let found = change::get(&self.center, &account);
        let answer = |account| api::GetAccountResponse { account };
        call.explain(CHANGE_MAX, found, answer).await
    }

    async fn freeze_account(
        &self,
        request: Request<api::FreezeAccountRequest>,
    ) -> Reply<api::FreezeAccountResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::freeze(&self.center, call.caller(), &call.request);
        let answer = |change| api::FreezeAccountResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn unfreeze_account(
        &self,
        request: Request<api::UnfreezeAccountRequest>,
    ) -> Reply<api::UnfreezeAccountResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::unfreeze(&self.center, call.caller(), &call.request);
        let answer = |change| api::UnfreezeAccountResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn memorialize_account(
        &self,
        request: Request<api::MemorializeAccountRequest>,
    ) -> Reply<api::MemorializeAccountResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::memorialize(&self.center, call.caller(), &call.request);
        let answer = |change| api::MemorializeAccountResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn unmemorialize_account(
        &self,
        request: Request<api::UnmemorializeAccountRequest>,
    ) -> Reply<api::UnmemorializeAccountResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::unmemorialize(&self.center, call.caller(), &call.request);
        let answer = |change| api::UnmemorializeAccountResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn stop_personalization(
        &self,
        request: Request<api::StopPersonalizationRequest>,
    ) -> Reply<api::StopPersonalizationResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::stop_personalization(&self.center, call.caller(), &call.request);
        let answer = |change| api::StopPersonalizationResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn clear_real_name(
        &self,
        request: Request<api::ClearRealNameRequest>,
    ) -> Reply<api::ClearRealNameResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::clear_real_name(&self.center, call.caller(), &call.request);
        let answer = |change| api::ClearRealNameResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn transfer_belongings(
        &self,
        request: Request<api::TransferBelongingsRequest>,
    ) -> Reply<api::TransferBelongingsResponse> {
        let call = Call::counted(&self.center, request)?;
        let transfer = transfer::transfer(&self.center, call.caller(), &call.request);
        Ok(Response::new(api::TransferBelongingsResponse {
            transfer: Some(within(CHANGE_MAX, transfer).await?),
        }))
    }

    async fn verify_account_factor(
        &self,
        request: Request<api::VerifyAccountFactorRequest>,
    ) -> Reply<api::VerifyAccountFactorResponse> {
        let call = Call::counted(&self.center, request)?;
        let change = change::verify(&self.center, call.caller(), &call.request);
        let answer = |change| api::VerifyAccountFactorResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn send_account_code(
        &self,
        request: Request<api::SendAccountCodeRequest>,
    ) -> Reply<api::SendAccountCodeResponse> {
        let call = Call::counted(&self.center, request)?;
        let sent = change::send_code(&self.center, call.caller(), &call.request);
        within(CHANGE_MAX, sent).await.map(Response::new)
    }

    async fn check_real_name_clearing(
        &self,
        request: Request<api::CheckRealNameClearingRequest>,
    ) -> Reply<api::CheckRealNameClearingResponse> {
        let call = Call::of(request)?;
        let account = parse::account("account", &call.request.account)?;
        let found = change::check_clearing(&self.center, &account);
        let found = within(CHANGE_MAX, found).await?;
        Ok(call.language.respond(found.explained(call.language)))
    }

    async fn review_real_name_clearing(
        &self,
        request: Request<api::ReviewRealNameClearingRequest>,
    ) -> Reply<api::ReviewRealNameClearingResponse> {
        let call = Call::of(request)?;
        let change = change::review(&self.center, &call.request);
        let answer = |change| api::ReviewRealNameClearingResponse { change };
        call.explain(CHANGE_MAX, change, answer).await
    }

    async fn get_account_change(
        &self,
        request: Request<api::GetAccountChangeRequest>,
    ) -> Reply<api::GetAccountChangeResponse> {
        let call = Call::of(request)?;
        let name = change::name(&call.request.name)?;
        let change = change::look(&self.center, &name);
        let answer = |change| api::GetAccountChangeResponse { change };
        call.explain(READ_MAX, change, answer).await
    }

    async fn watch_account_change(
        &self,
        request: Request<api::WatchAccountChangeRequest>,
    ) -> Reply<Self::WatchAccountChangeStream> {
        let call = Call::of(request)?;
        let name = change::name(&call.request.name)?;
        let watch = self.watchers.watch(READ_MAX, name, call.language);
        Ok(call.language.respond(watch.await?))
    }

    async fn unbind_device(
        &self,
        request: Request<api::UnbindDeviceRequest>,
    ) -> Reply<api::UnbindDeviceResponse> {
        let call = Call::of(request)?;
        let wish = wish(&call.request)?;
        self.known(&wish.name, "line")?;
        let unbinding = unbinding::unbind(&self.center, wish);
        let answer = |device_unbinding| api::UnbindDeviceResponse { device_unbinding };
        call.explain(CHANGE_MAX, unbinding, answer).await
    }

    async fn get_device_unbinding(
        &self,
        request: Request<api::GetDeviceUnbindingRequest>,
    ) -> Reply<api::GetDeviceUnbindingResponse> {
        let call = Call::of(request)?;
        let name = name(&call.request.name)?;
        self.known(&name, "name")?;
        let account = parse::account("account", &call.request.account)?;
        let unbinding = unbinding::look(&self.center, &name, &account);
        let answer = |device_unbinding| api::GetDeviceUnbindingResponse { device_unbinding };
        call.explain(CHANGE_MAX, unbinding, answer).await
    }

    async fn watch_device_unbinding(
        &self,
        request: Request<api::WatchDeviceUnbindingRequest>,
    ) -> Reply<Self::WatchDeviceUnbindingStream> {
        let call = Call::of(request)?;
        let name = name(&call.request.name)?;
        self.known(&name, "name")?;
        let account = parse::account("account", &call.request.account)?;
        let watched = unbinding::Watched { name, account };
        let watch = self.watchers.watch(CHANGE_MAX, watched, call.language);
        Ok(call.language.respond(watch.await?))
    }

    async fn start_export(
        &self,
        request: Request<api::StartExportRequest>,
    ) -> Reply<api::StartExportResponse> {
        let call = Call::counted(&self.center, request)?;
        let request = &call.request;
        let name = export::Name(parse::request_id(&request.request_id)?);
        let account = parse::account("account", &request.account)?;
        let case = (!request.case.is_empty()).then(|| CaseName::parse("case", &request.case));
        let case = case.transpose()?;
        self.center.throttle.account(call.caller(), &account)?;
        let export = export::start(&self.center, &name, &account, call.language, case);
        let answer = |export| api::StartExportResponse { export };
        call.explain(CHANGE_MAX, export, answer).await
    }

    async fn get_export(
        &self,
        request: Request<api::GetExportRequest>,
    ) -> Reply<api::GetExportResponse> {
        let call = Call::of(request)?;
        let name = export_name(&call.request.name)?;
        let account = parse::account("account", &call.request.account)?;
        let export = export::get(&self.center, &name, &account);
        let answer = |export| api::GetExportResponse { export };
        call.explain(READ_MAX, export, answer).await
    }

    async fn cancel_export(
        &self,
        request: Request<api::CancelExportRequest>,
    ) -> Reply<api::CancelExportResponse> {
        let call = Call::of(request)?;
        let name = export_name(&call.request.name)?;
        let account = parse::account("account", &call.request.account)?;
        let export = export::cancel(&self.center, &name, &account);
        let answer = |export| api::CancelExportResponse { export };
        call.explain(CHANGE_MAX, export, answer).await
    }

    async fn download_export(
        &self,
        request: Request<api::DownloadExportRequest>,
    ) -> Reply<Download> {
        let call = Call::counted(&self.center, request)?;
        let request = &call.request;
        let name = export_name(&request.name)?;
        let account = parse::account("account", &request.account)?;
        if request.offset < 0 {
            return Err(error::invalid("offset", "must be at least 0"));
        }
        let case = (!request.case.is_empty()).then(|| CaseName::parse("case", &request.case));
        let case = case.transpose()?;
        self.center.throttle.account(call.caller(), &account)?;
        let given = export::check_given(&self.center, &name, &account, case);
        within(CHANGE_MAX, given).await?;
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
