package messages

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Errors of the registry; they are wrapped with the type that caused them.
var (
	ErrNoCodec     = errors.New("messages: no codec for the type")
	ErrUnknownType = errors.New("messages: unknown type")
)

// Codec turns messages of some Go types into bytes and back. A Codec must be
// safe for concurrent use.
type Codec interface {
	// Name is the codec's name in a handshake, at most 32 bytes.
	Name() string
	// TypeName returns the cluster-wide name of msg's type, and whether the
	// codec handles it. The name must not depend on the value.
	TypeName(msg any) (string, bool)
	// Append appends msg's encoding to dst.
	Append(dst []byte, msg any) ([]byte, error)
	// Decode makes a message of the named type. It returns an error that
	// wraps ErrUnknownType for a name that is not its own. body is valid only
	// during the call.
	Decode(typeName string, body []byte) (any, error)
}

// Bytes is a message of raw bytes. Who sends it must not change it
// afterwards; who receives it owns it.
type Bytes []byte

// bytesName is the type name of Bytes.
const bytesName = "bytes"

// vtMessage is implemented by protobuf messages with generated fast methods
// (vtprotobuf's). They are used by assertion, without a dependency.
type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}

// Type is a message type that can travel. It is immutable.
type Type struct {
	Name  string
	codec Codec                    // nil for the built-in ones
	proto protoreflect.MessageType // protobuf
	vt    bool
}

// Size returns the encoded size of msg, or -1 if only encoding tells.
func (t *Type) Size(msg any) int {
	switch m := msg.(type) {
	case Bytes:
		return len(m)
	case vtMessage:
		if t.vt {
			return m.SizeVT()
		}
	}
	if t.proto != nil {
		if m, ok := msg.(proto.Message); ok {
			return proto.Size(m)
		}
	}
	return -1
}

// Append appends msg's encoding to dst, allocating only if dst is too small.
// Code of the application may run: callers guard against its panics.
func (t *Type) Append(dst []byte, msg any) ([]byte, error) {
	return t.append(dst, msg, false)
}

// AppendSized is Append for a message of which Size was just taken: what that
// computed is used again.
func (t *Type) AppendSized(dst []byte, msg any) ([]byte, error) {
	return t.append(dst, msg, true)
}

func (t *Type) append(dst []byte, msg any, sized bool) ([]byte, error) {
	if t.vt {
		m, ok := msg.(vtMessage)
		if !ok {
			return dst, fmt.Errorf("%w: %T is not %s", ErrNoCodec, msg, t.Name)
		}
		size := m.SizeVT()
		start := len(dst)
		dst = grow(dst, size)
		n, err := m.MarshalToSizedBufferVT(dst[start : start+size])
		if err != nil || n != size {
			return dst[:start], fmt.Errorf("messages: encoding %s: wrote %d of %d bytes: %w", t.Name, n, size, err)
		}
		return dst, nil
	}
	if t.proto != nil {
		m, ok := msg.(proto.Message)
		if !ok {
			return dst, fmt.Errorf("%w: %T is not %s", ErrNoCodec, msg, t.Name)
		}
		return proto.MarshalOptions{AllowPartial: true, UseCachedSize: sized}.MarshalAppend(dst, m)
	}
	if t.codec != nil {
		return t.codec.Append(dst, msg)
	}
	return append(dst, msg.(Bytes)...), nil
}

// grow returns b with its length increased by n.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	nb := make([]byte, len(b)+n, max(2*cap(b), len(b)+n))
	copy(nb, b)
	return nb
}

// maxDepth bounds how deep protobuf messages may nest: a deeper one is
// refused cheaply instead of eating stack.
const maxDepth = 64

// Decode makes a message from its encoding. body may be reused afterwards.
func (t *Type) Decode(body []byte) (any, error) {
	switch {
	case t.vt:
		m := t.proto.New().Interface()
		if err := m.(vtMessage).UnmarshalVT(body); err != nil {
			return nil, fmt.Errorf("messages: decoding %s: %w", t.Name, err)
		}
		return m, nil
	case t.proto != nil:
		m := t.proto.New().Interface()
		// The message is fresh: merging into it saves clearing it first.
		if err := (proto.UnmarshalOptions{Merge: true, AllowPartial: true, RecursionLimit: maxDepth}).Unmarshal(body, m); err != nil {
			return nil, fmt.Errorf("messages: decoding %s: %w", t.Name, err)
		}
		return m, nil
	case t.codec != nil:
		return t.codec.Decode(t.Name, body)
	default:
		return Bytes(append([]byte(nil), body...)), nil
	}
}

// Registry maps Go types and type names to Types. It is safe for concurrent
// use; lookups of known types take no lock.
type Registry struct {
	codecs []Codec
	byGo   sync.Map // reflect.Type -> *Type
	byName sync.Map // string -> *Type
}

// NewRegistry makes a registry with the built-in types, every protobuf
// message linked into the program and Bytes, and those of more codecs, which
// are asked first, in order.
func NewRegistry(codecs ...Codec) *Registry {
	r := &Registry{codecs: codecs}
	b := &Type{Name: bytesName}
	r.byGo.Store(reflect.TypeFor[Bytes](), b)
	r.byName.Store(bytesName, b)
	return r
}

// Of returns the type of a message. An error wraps ErrNoCodec and names the
// Go type.
func (r *Registry) Of(msg any) (*Type, error) {
	rt := reflect.TypeOf(msg)
	if t, ok := r.byGo.Load(rt); ok {
		return t.(*Type), nil
	}
	if rt == nil {
		return nil, fmt.Errorf("%w: nil", ErrNoCodec)
	}
	for _, c := range r.codecs {
		if name, ok := c.TypeName(msg); ok {
			t, _ := r.byName.LoadOrStore(name, &Type{Name: name, codec: c})
			r.byGo.Store(rt, t)
			return t.(*Type), nil
		}
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T is no protobuf message; register a codec for it", ErrNoCodec, msg)
	}
	t := r.protoType(m.ProtoReflect().Type())
	r.byGo.Store(rt, t)
	return t, nil
}

func (r *Registry) protoType(mt protoreflect.MessageType) *Type {
	_, vt := mt.Zero().Interface().(vtMessage)
	t := &Type{Name: string(mt.Descriptor().FullName()), proto: mt, vt: vt}
	have, _ := r.byName.LoadOrStore(t.Name, t)
	return have.(*Type)
}

// Lookup returns the type of that name. An error wraps ErrUnknownType.
func (r *Registry) Lookup(name string) (*Type, error) {
	if t, ok := r.byName.Load(name); ok {
		return t.(*Type), nil
	}
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name)); err == nil {
		return r.protoType(mt), nil
	}
	for _, c := range r.codecs {
		if _, err := c.Decode(name, nil); !errors.Is(err, ErrUnknownType) {
			t, _ := r.byName.LoadOrStore(strings.Clone(name), &Type{Name: strings.Clone(name), codec: c})
			return t.(*Type), nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownType, name)
}
