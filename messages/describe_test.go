package messages

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// The form is fixed: golden files rest on it.
func TestDescribe(t *testing.T) {
	for want, m := range map[string]proto.Message{
		"nil":                                  nil,
		"NodeRef(nil)":                         (*NodeRef)(nil),
		"Tick{}":                               &Tick{},
		"JoinOrder{contacts=[a:1 b:2]}":        &JoinOrder{Contacts: []string{"a:1", "b:2"}},
		`JoinOrder{contacts=["" "a b" "x\n"]}`: &JoinOrder{Contacts: []string{"", "a b", "x\n"}},
		"LinkUp{peer=NodeRef{name=n incarnation=7} known=3 inbound=true}": &LinkUp{Peer: &NodeRef{Name: "n", Incarnation: 7}, Known: 3, Inbound: true},
		"OverlayInbound{overlay=roster type=T body=3 bytes}":              &OverlayInbound{Overlay: "roster", Type: "T", Body: []byte("abc")},
		"SetTagsOrder{tags=[a:1 b:2 c:3]}":                                &SetTagsOrder{Tags: map[string]string{"c": "3", "a": "1", "b": "2"}},
		"RosterClaim{name=n status=ROSTER_STATUS_DOWN observers=[o]}":     &RosterClaim{Name: "n", Status: RosterStatus_ROSTER_STATUS_DOWN, Observers: []string{"o"}},
		"RosterHead{status=9}":                                            &RosterHead{Status: 9},
		"Value{list_value=ListValue{values=[Value{bool_value=true}]}}":    structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewBoolValue(true)}}),
	} {
		require.Equal(t, want, Describe(m))
		require.Equal(t, want, Describe(m))
	}
}
