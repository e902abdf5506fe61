package protoactor

import (
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/maquis-go/maquis/messages"
)

// Codec carries the messages that protoactor's remote turns into others on the
// way (remote.RootSerializable): the batches of its publish and subscribe, and
// an application's own. Give it to maquis.Start:
//
//	maquis.WithCodec(protoactor.Codec())
func Codec() messages.Codec { return codec{} }

type codec struct{}

// rooted begins the type names of the codec; the full name of the protobuf
// message that travels follows.
const rooted = "protoactor:"

// Name implements messages.Codec.
func (codec) Name() string { return "protoactor-root" }

// TypeName implements messages.Codec.
func (codec) TypeName(msg any) (string, bool) {
	m, err := serialized(msg)
	if err != nil {
		return "", false
	}
	return rooted + string(m.ProtoReflect().Descriptor().FullName()), true
}

// Append implements messages.Codec.
func (codec) Append(dst []byte, msg any) ([]byte, error) {
	m, err := serialized(msg)
	if err != nil {
		return dst, err
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

// serialized is what travels in place of a message.
func serialized(msg any) (m proto.Message, err error) {
	r, ok := msg.(remote.RootSerializable)
	if !ok {
		return nil, fmt.Errorf("%w: %T is no remote.RootSerializable", messages.ErrNoCodec, msg)
	}
	defer recovered(&err, "serializing a %T", msg)
	s, err := r.Serialize()
	if err != nil {
		return nil, fmt.Errorf("protoactor: serializing a %T: %w", msg, err)
	}
	m, ok = s.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T serializes to a %T, which is no protobuf message", messages.ErrNoCodec, msg, s)
	}
	return m, nil
}

// Decode implements messages.Codec.
func (codec) Decode(typeName string, body []byte) (msg any, err error) {
	name, ok := strings.CutPrefix(typeName, rooted)
	if !ok {
		return nil, fmt.Errorf("%w: %q", messages.ErrUnknownType, typeName)
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", messages.ErrUnknownType, typeName)
	}
	m := mt.New().Interface()
	r, ok := m.(remote.RootSerialized)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no remote.RootSerialized", messages.ErrUnknownType, typeName)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	// protoactor indexes by numbers from the wire.
	defer recovered(&err, "deserializing a %s", name)
	return r.Deserialize()
}

// recovered turns a panic into an error.
func recovered(err *error, format string, args ...any) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("protoactor: %s: panic: %v", fmt.Sprintf(format, args...), r)
	}
}
