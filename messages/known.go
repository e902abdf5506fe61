package messages

// ReasonOther stands for a reason from a peer that this version does not know.
const ReasonOther Reason = "other"

// known are all reasons.
var known = func() map[string]Reason {
	m := make(map[string]Reason)
	for _, r := range []Reason{
		ReasonUnknownNode, ReasonNodeDown, ReasonPastLife, ReasonNoSuchActor, ReasonForbidden, ReasonUnreachable, ReasonOverflow,
		ReasonExpired, ReasonTooLarge, ReasonNoCodec, ReasonUnknownType, ReasonMalformed, ReasonLost, ReasonStopped,
		ReasonWrongSecret, ReasonWrongCluster, ReasonWrongName, ReasonWrongMode, ReasonVersion, ReasonCertificate, ReasonNotMaquis,
		ReasonNameTaken, ReasonDown, ReasonSelf, ReasonRefused, ReasonTimeout, ReasonSilent, ReasonReset, ReasonClosed,
		ReasonPeerClosed, ReasonDuplicate, ReasonBadFrame, ReasonOversize, ReasonLimit, ReasonDisconnected, ReasonInternal, ReasonOther,
	} {
		m[string(r)] = r
	}
	return m
}()

// ParseReason returns the reason of that text, or ReasonOther. Reasons from
// peers go through it: they name counters and metrics, of which a peer must
// not make as many as it likes.
func ParseReason(text []byte) Reason {
	if r, ok := known[string(text)]; ok {
		return r
	}
	return ReasonOther
}
