package messages

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// order is a message that only a registered codec knows.
type order struct{ item string }

// shop encodes orders as their item. Its fields say how it misbehaves.
type shop struct {
	name    string // of the type; "" is shop.Order
	greedy  bool   // it says yes to every name
	fragile bool   // it panics when asked
}

func (s shop) Name() string { return "shop" }

func (s shop) TypeName(msg any) (string, bool) {
	_, ok := msg.(order)
	if s.name != "" {
		return s.name, ok
	}
	return "shop.Order", ok
}

func (s shop) Append(dst []byte, msg any) ([]byte, error) {
	return append(dst, msg.(order).item...), nil
}

func (s shop) Decode(name string, body []byte) (any, error) {
	if s.fragile && len(body) == 0 {
		panic("an empty order")
	}
	if !s.greedy && name != "shop.Order" {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, name)
	}
	return order{string(body)}, nil
}

// travel sends a message from one registry to another, as nodes do.
func travel(t *testing.T, from, to *Registry, msg any) any {
	t.Helper()
	typ, err := from.Of(msg)
	require.NoError(t, err)
	size := typ.Size(msg)
	b, err := typ.AppendSized([]byte("head"), msg)
	require.NoError(t, err)
	if size >= 0 {
		require.Len(t, b, 4+size)
	}
	typ, err = to.Lookup(typ.Name)
	require.NoError(t, err)
	got, err := typ.Decode(b[4:])
	require.NoError(t, err)
	clear(b) // the link reuses its buffer
	return got
}

// Protobuf messages, protoactor's own among them, bytes and the types of a
// codec come back as they were.
func TestMessagesTravel(t *testing.T) {
	a, b := NewRegistry(shop{}), NewRegistry(shop{})
	for _, msg := range []any{
		wrapperspb.Bytes([]byte("sixty-four")),
		&actor.PID{Address: "a", Id: "b"},
		&actor.PoisonPill{},
		&NodeRef{Name: "n", Incarnation: 7, Addr: "h:1"},
	} {
		require.True(t, proto.Equal(msg.(proto.Message), travel(t, a, b, msg).(proto.Message)), "%T", msg)
	}
	require.Equal(t, Bytes("raw"), travel(t, a, b, Bytes("raw")))
	require.Equal(t, order{"soup"}, travel(t, a, b, order{"soup"}))
}

// A field that this version does not know goes on to the next.
func TestUnknownFieldsStay(t *testing.T) {
	r := NewRegistry()
	newer, err := proto.Marshal(&NodeRef{Name: "n", Addr: "h:1"})
	require.NoError(t, err)
	typ, err := r.Lookup("google.protobuf.StringValue") // knows field 1 only
	require.NoError(t, err)
	older, err := typ.Decode(newer)
	require.NoError(t, err)
	again, err := typ.Append(nil, older)
	require.NoError(t, err)
	require.Equal(t, newer, again)
}

// What has no codec is named, on both sides.
func TestNoCodec(t *testing.T) {
	r := NewRegistry()
	for _, msg := range []any{nil, order{}, "text", 7, &order{}} {
		_, err := r.Of(msg)
		require.ErrorIs(t, err, ErrNoCodec, "%T", msg)
	}
	_, err := r.Of(order{})
	require.ErrorContains(t, err, "messages.order")
	for _, name := range []string{"", "shop.Order", "..", strings.Repeat("x", 1<<16)} {
		_, err := r.Lookup(name)
		require.ErrorIs(t, err, ErrUnknownType)
		require.Less(t, len(err.Error()), 1000, "a peer's name is not repeated without end")
	}
}

// A type handed a message of another is an error, not a panic.
func TestWrongMessage(t *testing.T) {
	r := NewRegistry(shop{})
	raw, err := r.Of(Bytes(nil))
	require.NoError(t, err)
	text, err := r.Of(wrapperspb.String(""))
	require.NoError(t, err)
	_, err = raw.Append(nil, order{})
	require.ErrorIs(t, err, ErrNoCodec)
	_, err = text.Append(nil, Bytes(nil))
	require.ErrorIs(t, err, ErrNoCodec)
	require.Equal(t, -1, text.Size(order{}))
}

// A nil pointer to a message is the empty message, the first time and later.
func TestNilMessage(t *testing.T) {
	r := NewRegistry()
	for range 2 {
		typ, err := r.Of((*NodeRef)(nil))
		require.NoError(t, err)
		b, err := typ.Append(nil, (*NodeRef)(nil))
		require.NoError(t, err)
		require.Empty(t, b)
	}
}

// Two codecs cannot share a name, nor can one hide behind a long or empty one.
func TestNamesOfCodecs(t *testing.T) {
	for _, name := range []string{bytesName, strings.Repeat("x", MaxTypeName+1)} {
		_, err := NewRegistry(shop{name: name}).Of(order{})
		require.ErrorIs(t, err, ErrNoCodec)
	}
	// A codec may take over a protobuf name: on the way back it is asked first.
	r := NewRegistry(shop{name: "maquis.v1.NodeRef", greedy: true})
	require.Equal(t, order{"soup"}, travel(t, r, r, order{"soup"}))
}

// Names come from peers: a codec that says yes to all of them fills no memory.
func TestGreedyCodec(t *testing.T) {
	r := NewRegistry(shop{greedy: true})
	for i := range maxAsked {
		_, err := r.Lookup(fmt.Sprint("name", i))
		require.NoError(t, err)
	}
	_, err := r.Lookup("one more")
	require.ErrorIs(t, err, ErrUnknownType)
	_, err = r.Lookup("name1")
	require.NoError(t, err, "what is known stays")
}

// A codec that panics when it is asked is taken for one that knows.
func TestFragileCodec(t *testing.T) {
	r := NewRegistry(shop{fragile: true})
	require.Equal(t, order{"soup"}, travel(t, r, r, order{"soup"}))
}

// Broken bodies are errors; one nested without end is refused before it eats
// the stack.
func TestMalformed(t *testing.T) {
	r := NewRegistry()
	typ, err := r.Lookup("google.protobuf.StringValue")
	require.NoError(t, err)
	_, err = typ.Decode([]byte{0xff, 0xff})
	require.ErrorContains(t, err, "google.protobuf.StringValue")
	typ, err = r.Lookup("google.protobuf.Value")
	require.NoError(t, err)
	_, err = typ.Decode(nested(maxDepth/2 - 1))
	require.NoError(t, err)
	_, err = typ.Decode(nested(10_000))
	require.Error(t, err)
}

// Registries are shared by all senders and readers.
func TestConcurrent(t *testing.T) {
	r := NewRegistry(shop{})
	var wg sync.WaitGroup
	types := make([]*Type, 8)
	for i := range types {
		wg.Go(func() {
			typ, err := r.Of(order{})
			if err != nil {
				return
			}
			if other, err := r.Lookup("shop.Order"); err == nil && other == typ {
				types[i] = typ
			}
		})
	}
	wg.Wait()
	for _, typ := range types {
		require.NotNil(t, typ)
		require.Same(t, types[0], typ)
	}
}

// The budget of the data path: sending allocates nothing, receiving a message
// with one field of bytes the message and the bytes.
func TestAllocations(t *testing.T) {
	r := NewRegistry()
	var msg any = wrapperspb.Bytes(make([]byte, 64))
	buf := make([]byte, 0, 256)
	var body []byte
	require.Zero(t, testing.AllocsPerRun(100, func() {
		typ, err := r.Of(msg)
		if err != nil || typ.Size(msg) != 66 {
			t.Fail()
		}
		body, _ = typ.AppendSized(buf, msg)
	}))
	typ, err := r.Of(msg)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := typ.Decode(body); err != nil {
			t.Fail()
		}
	}), 2.0)
}

func BenchmarkDecode(b *testing.B) {
	r := NewRegistry()
	msg := wrapperspb.Bytes(make([]byte, 62))
	typ, err := r.Of(msg)
	require.NoError(b, err)
	body, err := typ.Append(nil, msg)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := typ.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	r := NewRegistry()
	var msg any = wrapperspb.Bytes(make([]byte, 62))
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		typ, err := r.Of(msg)
		if err != nil {
			b.Fatal(err)
		}
		typ.Size(msg)
		if _, err = typ.AppendSized(buf, msg); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzDecode feeds arbitrary names and bodies, as a hostile member would.
func FuzzDecode(f *testing.F) {
	f.Add("google.protobuf.Value", nested(5))
	f.Add("actor.PID", []byte{10, 1, 'a'})
	f.Add("maquis.v1.RosterUpdate", []byte{10, 2, 10, 0})
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		r := NewRegistry(shop{})
		if typ, err := r.Lookup(name); err == nil {
			_, _ = typ.Decode(body)
		} else if !errors.Is(err, ErrUnknownType) {
			t.Fatal(err)
		}
		if m, err := DecodeControl(name, body); err == nil {
			if strings.ContainsAny(Describe(m), "\n\r") {
				t.Fatal("more than one line")
			}
		}
	})
}
