package frame

import (
	"bytes"
	"testing"

	"github.com/maquis-go/maquis/messages"
)

// again parses a frame and encodes what it found.
func again(raw []byte) []byte {
	switch Kind(raw[4]) {
	case KindPiece:
		p, _ := ParsePiece(raw)
		b := append(AppendPiece(nil, p.Channel, p.Slot, p.Seq), p.Body...)
		Finish(b, 0)
		return b
	case KindDefine:
		d, _ := ParseDefine(raw)
		return AppendDefine(nil, d.Table, d.ID, d.Text)
	case KindFlowUpdate:
		u, _ := ParseFlowUpdate(raw)
		return AppendFlowUpdate(nil, u)
	case KindStable:
		m, _ := ParseStable(raw)
		return AppendStable(nil, m)
	case KindBegin:
		m, _ := ParseBegin(raw)
		return AppendBegin(nil, m)
	case KindEnd:
		m, _ := ParseEnd(raw)
		return AppendEnd(nil, m)
	case KindPing:
		m, _ := ParsePing(raw)
		return AppendPing(nil, m)
	case KindPong:
		m, _ := ParsePing(raw)
		return AppendPong(nil, m)
	case KindOverlay:
		m, _ := ParseOverlay(raw)
		return AppendOverlay(nil, m)
	case KindControl:
		m, _ := ParseControl(raw)
		return AppendControl(nil, m)
	case KindUndelivered:
		m, _ := ParseUndelivered(raw)
		return AppendUndelivered(nil, m)
	case KindClose:
		m, _ := ParseClose(raw)
		return AppendClose(nil, m)
	case KindRelay:
		m, _ := ParseRelay(raw)
		return AppendRelay(nil, m)
	case KindPacked:
		m, _ := ParsePacked(raw)
		b := append(AppendPacked(nil, m.Codec, m.Size), m.Body...)
		Finish(b, 0)
		return b
	default:
		m, _ := ParseSession(raw)
		return AppendSession(nil, m)
	}
}

// FuzzFrame feeds a stream of arbitrary bytes. Nothing panics; a data frame
// that parses encodes to one that parses the same; of every other kind there
// is one encoding only.
func FuzzFrame(f *testing.F) {
	for _, b := range captures {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			raw, n, err := Next(b, MaxData)
			if err != nil || n == 0 {
				return
			}
			b = b[n:]
			if parse(raw) != nil {
				continue
			}
			if Kind(raw[4]) != KindData {
				got := again(raw)
				if bytes.Contains(got, []byte(messages.ReasonOther)) {
					continue // it had a reason that is not known here
				}
				if !bytes.Equal(got, raw) {
					t.Fatalf("%x became %x", raw, got)
				}
				continue
			}
			var d, d2 Data
			_ = ParseData(raw, &d)
			e := append(AppendData(nil, &d), d.Body...)
			Finish(e, 0)
			if err := ParseData(e, &d2); err != nil || !bytes.Equal(d2.Body, d.Body) || d2.Seq != d.Seq || d2.Target != d.Target || d2.SenderID != d.SenderID || len(d2.Header) != len(d.Header) {
				t.Fatalf("%+v became %+v: %v", d, d2, err)
			}
		}
	})
}

func BenchmarkAppendData(b *testing.B) {
	d := Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, SenderForm: SenderLocal, SenderRef: 1}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		Finish(AppendData(buf, &d), 0)
	}
}

func BenchmarkParseData(b *testing.B) {
	raw := whole(Data{Slot: 5, Channel: 1, Seq: 7, TypeRef: 3, TargetRef: 2, SenderForm: SenderLocal, SenderRef: 1}, "0123456789")
	var d Data
	b.ReportAllocs()
	for b.Loop() {
		if ParseData(raw, &d) != nil {
			b.Fail()
		}
	}
}
