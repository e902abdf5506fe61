package messages

// Reason says why a link ended, a peer was refused or a message did not
// arrive. Reasons are stable lower-case words: they appear in events, logs,
// metrics labels and on the wire (as the codes of handshake answers).
type Reason string

// Reasons for undelivered messages.
const (
	ReasonUnknownNode Reason = "unknown_node"  // no member of that name is known
	ReasonNodeDown    Reason = "node_down"     // the member was declared down or has left
	ReasonPastLife    Reason = "past_life"     // the PID names an earlier incarnation of the node
	ReasonNoSuchActor Reason = "no_such_actor" // the node lives, the actor does not
	ReasonForbidden   Reason = "forbidden"     // the target may not be addressed from another node
	ReasonUnreachable Reason = "unreachable"   // no link and no route within the time allowed
	ReasonOverflow    Reason = "overflow"      // the channel's queue was at its bound
	ReasonExpired     Reason = "expired"       // the message's own time limit passed first
	ReasonTooLarge    Reason = "too_large"     // larger than the cluster's message limit
	ReasonNoCodec     Reason = "no_codec"      // the sender has no codec for the Go type
	ReasonUnknownType Reason = "unknown_type"  // the receiver does not know the type
	ReasonMalformed   Reason = "malformed"     // the receiver could not decode the body
	ReasonLost        Reason = "lost"          // written to a link that died before it arrived
	ReasonStopped     Reason = "stopped"       // the local runtime has stopped
)

// Reasons for links that ended or never came up, and for refused peers.
const (
	ReasonWrongSecret  Reason = "wrong_secret"  // TLS or secret verification failed
	ReasonWrongCluster Reason = "wrong_cluster" // the peer belongs to a cluster of another name
	ReasonWrongName    Reason = "wrong_name"    // another node answered than the one dialed
	ReasonWrongMode    Reason = "wrong_mode"    // one side speaks TLS, the other does not
	ReasonVersion      Reason = "version"       // no protocol version in common
	ReasonCertificate  Reason = "certificate"   // expired, not yet valid, or not signed by an accepted authority
	ReasonNotMaquis    Reason = "not_maquis"    // the bytes received are no preface of ours
	ReasonNameTaken    Reason = "name_taken"    // another live node has the name
	ReasonDown         Reason = "down"          // the peer has declared this generation of us down
	ReasonSelf         Reason = "self"          // the address is our own
	ReasonRefused      Reason = "refused"       // the connection was refused
	ReasonTimeout      Reason = "timeout"       // a deadline passed
	ReasonSilent       Reason = "silent"        // no heartbeat within the limit
	ReasonReset        Reason = "reset"         // the connection broke
	ReasonClosed       Reason = "closed"        // closed by us, in order
	ReasonPeerClosed   Reason = "peer_closed"   // closed by the peer, in order
	ReasonDuplicate    Reason = "duplicate"     // the other of two simultaneous connections was kept
	ReasonBadFrame     Reason = "bad_frame"     // a frame that violates the protocol
	ReasonOversize     Reason = "oversize"      // a frame or hello beyond its limit
	ReasonLimit        Reason = "limit"         // a limit on connections or handshakes was reached
	ReasonDisconnected Reason = "disconnected"  // the operator asked for no links to this peer
	ReasonInternal     Reason = "internal"      // a fault of our own, recovered at the link's border
)
