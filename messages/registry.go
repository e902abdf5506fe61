package messages

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

const (
	// MaxTypeName is the longest name of a type, in bytes.
	MaxTypeName = 512
	// maxAsked bounds how many names a registry learns by asking codecs: the
	// names come from peers, and a codec may say yes to every one.
	maxAsked = 4096
)

// Registry maps Go types and type names to Types. It is safe for concurrent
// use; lookups of known types take no lock.
type Registry struct {
	codecs []Codec
	byGo   sync.Map // reflect.Type -> *Type
	byName sync.Map // string -> *Type
	asked  atomic.Int32
	recent [64]atomic.Pointer[recent] // Of's latest answers, by Go type
}

// recent is an answer of Of.
type recent struct {
	goType reflect.Type
	typ    *Type
}

// NewRegistry makes a registry with the types of the codecs, which are asked
// first, in order, and the built-in ones: every protobuf message linked into
// the program, Bytes and *Buffer.
func NewRegistry(codecs ...Codec) *Registry {
	r := &Registry{codecs: codecs}
	b := &Type{Name: bytesName}
	r.byGo.Store(reflect.TypeFor[Bytes](), b)
	r.byName.Store(bytesName, b)
	lent := &Type{Name: bufferName, lends: true}
	r.byGo.Store(reflect.TypeFor[*Buffer](), lent)
	r.byName.Store(bufferName, lent)
	return r
}

// Of returns the type of a message. An error wraps ErrNoCodec and names the
// Go type.
func (r *Registry) Of(msg any) (*Type, error) {
	rt := reflect.TypeOf(msg)
	if rt == nil {
		return nil, fmt.Errorf("%w: nil", ErrNoCodec)
	}
	// A look at the latest answers costs a tenth of one into the map.
	slot := &r.recent[reflect.ValueOf(rt).Pointer()>>5%uintptr(len(r.recent))]
	if e := slot.Load(); e != nil && e.goType == rt {
		return e.typ, nil
	}
	t, err := r.of(rt, msg)
	if err == nil {
		slot.Store(&recent{rt, t})
	}
	return t, err
}

// of is Of without the latest answers.
func (r *Registry) of(rt reflect.Type, msg any) (*Type, error) {
	if t, ok := r.byGo.Load(rt); ok {
		return t.(*Type), nil
	}
	for i, c := range r.codecs {
		name, ok := c.TypeName(msg)
		if !ok {
			continue
		}
		if name == "" || len(name) > MaxTypeName {
			return nil, fmt.Errorf("%w: codec %s gives %T a name of %d bytes; 1 to %d are allowed", ErrNoCodec, c.Name(), msg, len(name), MaxTypeName)
		}
		have, _ := r.byName.LoadOrStore(name, &Type{Name: name, codec: c, owner: i + 1})
		t := have.(*Type)
		if t.owner != i+1 {
			return nil, fmt.Errorf("%w: codec %s gives %T the name %q, which is another codec's", ErrNoCodec, c.Name(), msg, name)
		}
		r.byGo.Store(rt, t)
		return t, nil
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
	t.deep = vt && nests(mt.Descriptor())
	if have, _ := r.byName.LoadOrStore(t.Name, t); have.(*Type).proto == mt {
		return have.(*Type)
	}
	return t // a codec claims the name for another Go type
}

// Lookup returns the type of that name. An error wraps ErrUnknownType.
func (r *Registry) Lookup(name string) (*Type, error) {
	if t, ok := r.byName.Load(name); ok {
		return t.(*Type), nil
	}
	if name == "" || len(name) > MaxTypeName {
		return nil, fmt.Errorf("%w: a name of %d bytes", ErrUnknownType, len(name))
	}
	for i, c := range r.codecs {
		if !knows(c, name) {
			continue
		}
		if r.asked.Add(1) > maxAsked {
			r.asked.Add(-1)
			return nil, fmt.Errorf("%w: %q is one of more than %d names that codec %s knows; it must refuse names that are not its own", ErrUnknownType, name, maxAsked, c.Name())
		}
		name = strings.Clone(name)
		t, _ := r.byName.LoadOrStore(name, &Type{Name: name, codec: c, owner: i + 1})
		return t.(*Type), nil
	}
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name)); err == nil {
		return r.protoType(mt), nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownType, name)
}

// knows asks a codec for a name. One that panics on an empty body has gone
// beyond the question: what it makes of a real one shows when one comes.
func knows(c Codec, name string) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	_, err := c.Decode(name, nil)
	return !errors.Is(err, ErrUnknownType)
}
