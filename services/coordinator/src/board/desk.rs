//! Desks: where a participant's commands wait, and who of its sessions has room for them.

use std::collections::{HashMap, VecDeque};

use farewell_core::{DeletionId, LegIndex, ParticipantId};
use farewell_proto::participant::v1 as wire;
use farewell_runtime::server::MESSAGE_BYTES_MAX;
use prost::Message as _;
use tokio::sync::mpsc;

/// Commands in one frame.
const FRAME_COMMANDS_MAX: usize = 512;
/// A frame is closed above this: rosters are of any length, and a message that is too large would end the stream.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;
/// Frames that may wait in a session's queue; whatever does not fit stays at the desk.
pub const SESSION_FRAMES_MAX: usize = 64;
/// The highest window a participant may set.
pub const WINDOW_COMMANDS_MAX: u32 = 65_536;

/// What a session is sent.
pub type Frame = Result<wire::ConnectResponse, tonic::Status>;
/// A session of a participant with this coordinator.
pub type SessionId = u64;
/// A leg of a deletion.
pub type Leg = (DeletionId, LegIndex);

/// The two queues to a session. Only desks put anything into that of the commands, so that room seen there is room.
#[derive(Clone, Debug)]
pub struct Lines {
    pub commands: mpsc::Sender<Frame>,
    /// Everything else: questions, refusals, the end.
    pub words: mpsc::Sender<Frame>,
}

/// What one participant's desk looks like.
#[derive(Clone, Debug, Default)]
pub struct DeskView {
    pub sessions: u32,
    pub outstanding: u64,
    pub waiting: u64,
    pub deferred: u64,
}

/// Every participant's desk.
#[derive(Debug, Default)]
pub struct Desks(HashMap<ParticipantId, Desk>);

#[derive(Debug, Default)]
struct Desk {
    ready: VecDeque<Leg>,
    seats: Vec<Seat>,
    next_seat: usize,
    deferred: u64,
}

#[derive(Debug)]
struct Seat {
    session: SessionId,
    window: u32,
    outstanding: u32,
    lines: Lines,
}

impl Desks {
    /// Whether a command is ready and somebody has room for it.
    pub fn have_work(&self) -> bool {
        self.0
            .values()
            .any(|desk| !desk.ready.is_empty() && desk.seats.iter().any(Seat::has_room))
    }

    /// Whether the participant has a session here.
    pub fn connected(&self, participant: &str) -> bool {
        self.0
            .iter()
            .any(|(name, desk)| name.as_str() == participant && !desk.seats.is_empty())
    }

    /// A participant's desk, in numbers.
    pub fn view(&self, participant: &ParticipantId) -> DeskView {
        self.0
            .get(participant)
            .map_or_else(DeskView::default, |desk| {
                let outstanding = desk.seats.iter().map(|seat| u64::from(seat.outstanding));
                DeskView {
                    sessions: u32::try_from(desk.seats.len()).unwrap_or(u32::MAX),
                    outstanding: outstanding.sum(),
                    waiting: desk.ready.len() as u64,
                    deferred: desk.deferred,
                }
            })
    }

    /// Adds a session; nothing is handed out to it before it sets a window.
    pub fn sit_down(&mut self, participant: &ParticipantId, session: SessionId, lines: Lines) {
        let seat = Seat {
            session,
            window: 0,
            outstanding: 0,
            lines,
        };
        self.desk(participant).seats.push(seat);
    }

    /// Sets a session's window.
    pub fn set_window(&mut self, participant: &ParticipantId, session: SessionId, commands: u32) {
        if let Some(seat) = self.seat(participant, session) {
            seat.window = commands.min(WINDOW_COMMANDS_MAX);
        }
    }

    /// The queue for words to that session of the participant which has the most room there, for a question.
    pub fn ask(&self, participant: &ParticipantId) -> Option<mpsc::Sender<Frame>> {
        let seats = self.0.get(participant)?.seats.iter();
        seats
            .max_by_key(|seat| seat.lines.words.capacity())
            .map(|seat| seat.lines.words.clone())
    }

    /// Removes a session.
    pub fn stand_up(&mut self, participant: &ParticipantId, session: SessionId) {
        if let Some(desk) = self.0.get_mut(participant) {
            desk.seats.retain(|seat| seat.session != session);
        }
    }

    /// A leg waits for somebody with room.
    pub fn queue(&mut self, participant: &ParticipantId, leg: Leg) {
        self.desk(participant).ready.push_back(leg);
    }

    /// A leg waits before all others: it is still with the participant, so its place in the window is nobody else's.
    pub fn queue_first(&mut self, participant: &ParticipantId, leg: Leg) {
        self.desk(participant).ready.push_front(leg);
    }

    /// Sends one command that is no leg's, to a session that has room for it.
    pub fn lend(
        &mut self,
        participant: &ParticipantId,
        command: &wire::Command,
    ) -> Option<SessionId> {
        let seats = self.0.get_mut(participant)?.seats.iter_mut();
        let seat = seats.into_iter().find(|seat| seat.has_room())?;
        seat.send(vec![command.clone()]);
        Some(seat.session)
    }

    /// Gives back the room that a command took in its session's window.
    pub fn release(&mut self, participant: &ParticipantId, session: Option<SessionId>) {
        if let Some(seat) = session.and_then(|session| self.seat(participant, session)) {
            seat.outstanding = seat.outstanding.saturating_sub(1);
        }
    }

    /// A leg was put off by the participant, or is so no longer.
    pub fn defer(&mut self, participant: &ParticipantId, was: bool, is: bool) {
        if let Some(desk) = self.0.get_mut(participant) {
            desk.deferred = desk.deferred.saturating_sub(u64::from(was)) + u64::from(is);
        }
    }

    /// Hands every session as many commands as its window and queue have room for. `command` makes that of a leg, unless
    /// it is not owed any more. Returns how many.
    pub fn hand_out(
        &mut self,
        mut command: impl FnMut(SessionId, Leg) -> Option<wire::Command>,
    ) -> usize {
        let desks = self.0.values_mut();
        desks.map(|desk| desk.hand_out(&mut command)).sum()
    }

    fn desk(&mut self, participant: &ParticipantId) -> &mut Desk {
        self.0.entry(participant.clone()).or_default()
    }

    fn seat(&mut self, participant: &ParticipantId, session: SessionId) -> Option<&mut Seat> {
        let seats = self.0.get_mut(participant)?.seats.iter_mut();
        seats.into_iter().find(|seat| seat.session == session)
    }
}

impl Desk {
    fn hand_out(
        &mut self,
        command: &mut impl FnMut(SessionId, Leg) -> Option<wire::Command>,
    ) -> usize {
        let mut sent = 0;
        while !self.ready.is_empty() {
            let seats = self.seats.len();
            let turns = (0..seats).map(|step| (self.next_seat + step) % seats);
            let Some(place) = turns
                .into_iter()
                .find(|place| self.seats[*place].has_room())
            else {
                break;
            };
            self.next_seat = place + 1;
            let seat = &mut self.seats[place];
            let commands = seat.fill(&mut self.ready, command);
            sent += commands.len();
            seat.send(commands);
        }
        sent
    }
}

impl Seat {
    fn has_room(&self) -> bool {
        self.outstanding < self.window && self.lines.commands.capacity() > 0
    }

    /// One frame's commands.
    fn fill(
        &self,
        ready: &mut VecDeque<Leg>,
        command: &mut impl FnMut(SessionId, Leg) -> Option<wire::Command>,
    ) -> Vec<wire::Command> {
        let room = usize::try_from(self.window - self.outstanding)
            .unwrap_or(0)
            .min(FRAME_COMMANDS_MAX);
        let mut commands = Vec::with_capacity(room.min(ready.len()));
        let mut bytes = 0;
        while commands.len() < room && bytes < FRAME_BYTES_MAX {
            let Some(leg) = ready.pop_front() else {
                break;
            };
            if let Some(command) = command(self.session, leg) {
                bytes += command.encoded_len();
                commands.push(command);
            }
        }
        commands
    }

    fn send(&mut self, commands: Vec<wire::Command>) {
        if commands.is_empty() {
            return;
        }
        self.outstanding += u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let message = wire::connect_response::Message::Commands(wire::Commands { commands });
        // There is room: it was looked at under the lock that all senders of commands hold. If the session is gone, its
        // seat is about to be, and with it what it owes.
        let _ = self.lines.commands.try_send(Ok(wire::ConnectResponse {
            message: Some(message),
        }));
    }
}
