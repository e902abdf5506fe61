package actors

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
)

// The last answers to requests to spawn are remembered, so many and no more.
func TestSpawnsAreRemembered(t *testing.T) {
	var s spawns
	s.init()
	spawned := 0
	ask := func(id uint64) {
		s.once(spawnKey{id: id}, func() *messages.SpawnReply { spawned++; return &messages.SpawnReply{Id: id} })
	}
	const all = 2*maxSpawned + 10
	for id := range uint64(all) {
		ask(id)
		ask(id)
	}
	require.Equal(t, all, spawned)
	require.Len(t, s.done, maxSpawned)
	for id := range uint64(maxSpawned) {
		ask(all - maxSpawned + id)
	}
	require.Equal(t, all, spawned, "the last are remembered")
	ask(all - maxSpawned - 1)
	require.Equal(t, all+1, spawned, "those before are not")
}
