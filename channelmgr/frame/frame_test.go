package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

var update = flag.Bool("update", false, "write the golden captures anew")

// whole makes a data frame with its body.
func whole(d Data, body string) []byte {
	b := AppendData(nil, &d)
	b = append(b, body...)
	Finish(b, 0)
	return b
}

// captures are frames of every kind. Their bytes are the protocol: a change
// here breaks nodes in the field.
var captures = map[string][]byte{
	"data_interned": whole(Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2}, "body"),
	"data_inline":   whole(Data{Slot: 63, Channel: 9, Seq: 1 << 40, Type: "shop.v1.Order", Target: "orders", TargetRequest: 4, SenderForm: SenderForeign, SenderAddr: "c~1@h:1", SenderID: "me", SenderRequest: 9, Header: map[string]string{"b": "2", "a": "1"}, ExpiresMS: 1500, System: true}, "x"),
	"data_future":   whole(Data{Channel: 1, Seq: 1, TypeRef: 1, TargetRef: 1, SenderForm: SenderInline, SenderID: "future$1"}, ""),
	"data_sender":   whole(Data{Channel: 1, Seq: 1, TypeRef: 1, TargetRef: 1, SenderForm: SenderLocal, SenderRef: 12}, ""),
	"data_split":    whole(Data{Channel: 1, Seq: 1, TypeRef: 1, TargetRef: 1, Fragment: true, Total: 100000}, "first"),
	"data_report":   whole(Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, Report: true}, "body"),
	"piece":         func() []byte { b := append(AppendPiece(nil, 1, 5, 7), "more"...); Finish(b, 0); return b }(),
	"define":        AppendDefine(nil, TableTarget, 2, "orders"),
	"flow_update":   AppendFlowUpdate(nil, FlowUpdate{Channel: 1, Slot: 5, Next: 8, Credit: 65543, Lost: 1, Rejected: 2, Arrived: 9, Epoch: 4}),
	"stable":        AppendStable(nil, Stable{Channel: 1, Slot: 5, Count: 7}),
	"data_causal":   whole(Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, Causal: true, After: 6}, "body"),
	"begin":         AppendBegin(nil, Begin{Channel: 1, Slot: 5, Base: 8, Abandoned: 2}),
	"end":           AppendEnd(nil, End{Channel: 1, Slot: 5, Seq: 7}),
	"ping":          AppendPing(nil, Ping{Nonce: 1, Sent: 2}),
	"pong":          AppendPong(nil, Ping{Nonce: 1, Sent: 2}),
	"overlay":       AppendOverlay(nil, Overlay{Instance: "roster", Type: "maquis.v1.RosterPull", Body: []byte{1, 2}}),
	"control":       AppendControl(nil, Control{Type: "maquis.v1.SpawnRequest", Body: []byte{1}}),
	"undelivered":   AppendUndelivered(nil, Undelivered{Channel: 1, Slot: 5, Seq: 7, Reason: messages.ReasonNoSuchActor, Target: "t", Sender: "s", Type: "T", Epoch: 4}),
	"close":         AppendClose(nil, Close{Reason: messages.ReasonClosed}),
	"session":       AppendSession(nil, Session{Epoch: 77}),
	"packed":        func() []byte { b := append(AppendPacked(nil, PackS2, 100), "packed"...); Finish(b, 0); return b }(),
	"relay": AppendRelay(nil, Relay{Control: true, Hops: 2, Circuit: 9, Flags: 1, Window: 262144, Number: 1, Ack: 1, More: 5,
		From: overlay.Peer{Name: "a", Incarnation: 3}, To: overlay.Peer{Name: "bc", Incarnation: 4}, Body: []byte("body")}),
}

// The wire format is what the golden captures say.
func TestGolden(t *testing.T) {
	for name, b := range captures {
		file := filepath.Join("testdata", name+".hex")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(file, []byte(hex.Dump(b)), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), hex.Dump(b), name)
		raw, n, err := Next(append(b[:len(b):len(b)], 0), MaxData)
		require.NoError(t, err)
		require.Equal(t, len(b), n)
		require.NoError(t, parse(raw), name)
	}
}

// parse parses a frame of any kind, as a reader does.
func parse(raw []byte) (err error) {
	switch k := Kind(raw[4]); k {
	case KindData:
		err = ParseData(raw, new(Data))
	case KindPiece:
		_, err = ParsePiece(raw)
	case KindDefine:
		_, err = ParseDefine(raw)
	case KindFlowUpdate:
		_, err = ParseFlowUpdate(raw)
	case KindStable:
		_, err = ParseStable(raw)
	case KindBegin:
		_, err = ParseBegin(raw)
	case KindEnd:
		_, err = ParseEnd(raw)
	case KindPing, KindPong:
		_, err = ParsePing(raw)
	case KindOverlay:
		_, err = ParseOverlay(raw)
	case KindControl:
		_, err = ParseControl(raw)
	case KindUndelivered:
		_, err = ParseUndelivered(raw)
	case KindClose:
		_, err = ParseClose(raw)
	case KindSession:
		_, err = ParseSession(raw)
	case KindRelay:
		_, err = ParseRelay(raw)
	case KindPacked:
		_, err = ParsePacked(raw)
	default:
		err = bad("unknown %v", k)
	}
	return err
}

// What is encoded comes back.
func TestDataRoundTrip(t *testing.T) {
	for _, d := range []Data{
		{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2},
		{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, Report: true},
		{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, Causal: true, After: 1 << 50},
		{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, Causal: true, Fragment: true, Total: 5},
		{Slot: 63, Channel: 9, Seq: 1, Type: "T", Target: "orders", TargetRequest: 4, SenderForm: SenderForeign, SenderAddr: "a", SenderID: "me", SenderRequest: 9, Header: map[string]string{"b": "2"}, ExpiresMS: 1, System: true},
		{Seq: 1, TypeRef: 1, TargetRef: 1, Fragment: true, Total: 5, SenderForm: SenderLocal, SenderRef: 3},
	} {
		var got Data
		require.NoError(t, ParseData(whole(d, "body"), &got))
		require.Equal(t, "body", string(got.Body))
		got.Body = nil
		require.Equal(t, d, got)
	}
}

// Every truncation of every frame is an error of this package, not a panic.
func TestTruncated(t *testing.T) {
	for name, b := range captures {
		for n := 6; n < len(b); n++ {
			raw := bytes.Clone(b[:n])
			Finish(raw, 0)
			if err := parse(raw); err != nil {
				var fe *Error
				require.True(t, errors.As(err, &fe), "%s cut at %d: %v", name, n, err)
			}
		}
	}
}

// A length is judged before anything is read or allocated.
func TestLength(t *testing.T) {
	_, n, err := Next([]byte{0, 0, 0}, MaxControl)
	require.NoError(t, err)
	require.Zero(t, n)
	for _, head := range []string{"7fffffff", "00000000", "00000001", "00010000"} {
		b, _ := hex.DecodeString(head)
		_, _, err := Next(b, MaxControl)
		require.Error(t, err, head)
	}
}

// Bounds of ids and headers hold.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", MaxID+1)
	many := make(map[string]string)
	for i := range MaxHeaders + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	for name, d := range map[string]Data{
		"long target":  {Seq: 1, TypeRef: 1, Target: long},
		"long sender":  {Seq: 1, TypeRef: 1, TargetRef: 1, SenderForm: SenderInline, SenderID: long},
		"many headers": {Seq: 1, TypeRef: 1, TargetRef: 1, Header: many},
		"big header":   {Seq: 1, TypeRef: 1, TargetRef: 1, Header: map[string]string{"k": strings.Repeat("v", MaxHeader)}},
		"late number":  {Seq: MaxNumber, TypeRef: 1, TargetRef: 1},
		"whole piece":  {Seq: 1, TypeRef: 1, TargetRef: 1, Fragment: true},
		"slot":         {Slot: 64, Seq: 1, TypeRef: 1, TargetRef: 1},
		"no number":    {TypeRef: 1, TargetRef: 1},
		"sender form":  {Seq: 1, TypeRef: 1, TargetRef: 1, SenderForm: 9},
	} {
		require.Error(t, ParseData(whole(d, ""), new(Data)), name)
	}
}

// Frames other than data have no flags, and their fields have bounds.
func TestRefusedControl(t *testing.T) {
	for name, b := range captures {
		if Kind(b[4]) != KindData {
			b = bytes.Clone(b)
			b[5] = 1
			require.Error(t, parse(b), "%s with a flag", name)
		}
	}
	long := strings.Repeat("x", MaxID+1)
	for name, b := range map[string][]byte{
		"a type's name":      AppendDefine(nil, TableType, 1, long[:MaxName+1]),
		"a target's id":      AppendDefine(nil, TableTarget, 1, long),
		"an unknown table":   AppendDefine(nil, 5, 1, "x"),
		"id 0":               AppendDefine(nil, TableType, 0, "x"),
		"a channel above":    AppendDefine(nil, TableChannel, 256, "x"),
		"a piece of nothing": AppendPiece(nil, 1, 5, 0),
		"an empty piece":     AppendPiece(nil, 1, 5, 1),
		"a late base":        AppendBegin(nil, Begin{Base: MaxNumber}),
		"no base":            AppendBegin(nil, Begin{}),
		"more than all":      AppendBegin(nil, Begin{Base: 5, Abandoned: 5}),
		"a late end":         AppendEnd(nil, End{Seq: MaxNumber}),
		"a slot":             AppendFlowUpdate(nil, FlowUpdate{Slot: 64}),
		"a reason":           AppendClose(nil, Close{Reason: messages.Reason(long[:65])}),
		"an instance":        AppendOverlay(nil, Overlay{Instance: long[:65]}),
		"no session":         AppendSession(nil, Session{}),
		"no circuit":         AppendRelay(nil, Relay{Hops: 1, From: overlay.Peer{Name: "a", Incarnation: 3}, To: overlay.Peer{Name: "b", Incarnation: 4}}),
		"no hops":            AppendRelay(nil, Relay{Circuit: 1, From: overlay.Peer{Name: "a", Incarnation: 3}, To: overlay.Peer{Name: "b", Incarnation: 4}}),
		"no origin":          AppendRelay(nil, Relay{Circuit: 1, Hops: 1, To: overlay.Peer{Name: "b", Incarnation: 4}}),
		"a late number":      AppendRelay(nil, Relay{Circuit: 1, Hops: 1, Number: MaxNumber, From: overlay.Peer{Name: "a", Incarnation: 3}, To: overlay.Peer{Name: "b", Incarnation: 4}}),
	} {
		Finish(b, 0)
		var fe *Error
		require.ErrorAs(t, parse(b), &fe, name)
		require.Equal(t, messages.ReasonBadFrame, fe.Reason, name)
	}
}

// Reasons name counters: a peer cannot invent any.
func TestInventedReasons(t *testing.T) {
	c, err := ParseClose(AppendClose(nil, Close{Reason: "invented"}))
	require.NoError(t, err)
	require.Equal(t, messages.ReasonOther, c.Reason)
	u, err := ParseUndelivered(AppendUndelivered(nil, Undelivered{Reason: "invented"}))
	require.NoError(t, err)
	require.Equal(t, messages.ReasonOther, u.Reason)
}

// What the application chose is checked before it is encoded.
func TestChecks(t *testing.T) {
	require.NoError(t, CheckIDs("", strings.Repeat("x", MaxID)))
	require.ErrorContains(t, CheckIDs("a", strings.Repeat("x", MaxID+1)), "too_large")
	require.NoError(t, CheckHeader(map[string]string{"k": strings.Repeat("v", MaxHeader-1)}))
	require.Error(t, CheckHeader(map[string]string{"k": strings.Repeat("v", MaxHeader)}))
	require.Error(t, CheckHeader(map[string]string{strings.Repeat("k", MaxName+1): ""}))
	many := make(map[string]string)
	for i := range MaxHeaders + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	require.Error(t, CheckHeader(many))
}

// An optional extension is passed over and counted, a critical one ends the
// link.
func TestExtensions(t *testing.T) {
	frame := func(id byte) []byte {
		b := AppendData(nil, &Data{Seq: 1, TypeRef: 1, TargetRef: 1})
		b[5] |= flagExtension
		b = append(b, 0, 5, id, 0, 2, 7, 7)
		b = append(b, "body"...)
		Finish(b, 0)
		return b
	}
	var d Data
	require.NoError(t, ParseData(frame(ExtTrace), &d))
	require.Equal(t, "body", string(d.Body))
	require.Equal(t, 1, d.Skipped)
	require.Error(t, ParseData(frame(ExtRelay), &d))
}

// The data path does not allocate for frames with interned ids.
func TestAllocations(t *testing.T) {
	d := Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, SenderForm: SenderLocal, SenderRef: 1}
	buf := make([]byte, 0, 256)
	var got Data
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b := append(AppendData(buf, &d), "0123456789"...)
		Finish(b, 0)
		if ParseData(b, &got) != nil {
			t.Fail()
		}
	}))
}
