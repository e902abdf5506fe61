package overlaytest

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/maquis-go/maquis/overlay"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Describe writes a message on one line, the same for the same message: its
// short name with the fields that are set, in the order of their numbers.
func Describe(m proto.Message) string {
	if m == nil {
		return "nil"
	}
	var b strings.Builder
	describe(&b, m.ProtoReflect())
	return b.String()
}

func describe(b *strings.Builder, m protoreflect.Message) {
	b.WriteString(string(m.Descriptor().Name()) + "{")
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		if !first {
			b.WriteByte(' ')
		}
		first = false
		b.WriteString(string(f.Name()) + "=")
		v := m.Get(f)
		if !f.IsList() {
			value(b, f, v)
			continue
		}
		b.WriteByte('[')
		for j := range v.List().Len() {
			if j > 0 {
				b.WriteByte(' ')
			}
			value(b, f, v.List().Get(j))
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
}

func value(b *strings.Builder, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		describe(b, v.Message())
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			b.WriteString(string(d.Name()))
		} else {
			fmt.Fprintf(b, "%d", v.Enum())
		}
	case protoreflect.BytesKind:
		fmt.Fprintf(b, "%d bytes", len(v.Bytes()))
	default:
		fmt.Fprintf(b, "%v", v.Interface())
	}
}

// DescribeEvent writes an event on one line.
func DescribeEvent(ev overlay.Event, msg func(proto.Message) string) string {
	switch ev := ev.(type) {
	case overlay.Received:
		return "<- " + ev.From.String() + " " + msg(ev.Msg)
	case overlay.Fired:
		return "fired " + timerName(ev.Timer)
	case overlay.LinkUp:
		return "link up " + ev.Peer.String() + at(ev.Contact)
	case overlay.LinkDown:
		return "link down " + ev.Peer.String() + at(ev.Contact) + " " + string(ev.Reason)
	case overlay.NeighborUp:
		return "neighbor up " + ev.Peer.String()
	case overlay.NeighborDown:
		return "neighbor down " + ev.Peer.String() + " " + string(ev.Reason)
	case overlay.MemberUp:
		return "member up " + ev.Peer.String()
	case overlay.MemberDown:
		return "member down " + ev.Peer.String()
	case overlay.Resumed:
		return "resumed after " + ev.Gap.String()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", ev, ev), "overlay.")
}

// DescribeEffect writes an effect on one line.
func DescribeEffect(e overlay.Effect, msg func(proto.Message) string, notice func(any) string) string {
	switch e.Kind {
	case overlay.EffectSend:
		return "-> " + e.Peer.String() + " " + msg(e.Msg)
	case overlay.EffectConnect:
		return "connect " + e.Peer.String()
	case overlay.EffectDisconnect:
		return "disconnect " + e.Peer.String() + " " + string(e.Reason)
	case overlay.EffectSetTimer:
		return "set " + timerName(e.Timer) + " " + e.After.String()
	case overlay.EffectCancelTimer:
		return "cancel " + timerName(e.Timer)
	case overlay.EffectMeasure:
		return "measure " + e.Peer.String()
	case overlay.EffectNotify:
		return "! " + notice(e.Notice)
	case overlay.EffectReject:
		return "reject " + e.Peer.String() + " " + string(e.Reason)
	}
	return fmt.Sprintf("effect %d", e.Kind)
}

// DescribeNotice writes a notification on one line.
func DescribeNotice(n any) string {
	s := fmt.Sprintf("%T%+v", n, n)
	return s[strings.LastIndex(s[:strings.IndexByte(s, '{')+1], ".")+1:]
}

func at(contact string) string {
	if contact == "" {
		return ""
	}
	return " at " + contact
}

func timerName(t overlay.Timer) string {
	s := string(t.Kind)
	if t.Peer != "" {
		s += " " + t.Peer
	}
	if t.ID != (overlay.MessageID{}) {
		s += fmt.Sprintf(" %s/%d", t.ID.Origin, t.ID.Seq)
	}
	return s
}
