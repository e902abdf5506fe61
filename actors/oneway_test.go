package actors_test

import (
	"fmt"
	"testing"
	"time"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// What only one of two hears of the other ends at both, whichever overlay they
// are on.
func TestOneWayCut(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView, maquis.XBot, maquis.Scamp} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				a, b := c.Start("a", nil), c.Start("b", nil)
				c.Settle()
				c.Pass(5 * time.Second) // both have joined: before, a node accuses nobody
				c.CutOneWay(b, a)
				c.Until(30*time.Second, func() error {
					for _, n := range c.Live() {
						if len(n.NodeList()) != 1 {
							return fmt.Errorf("%s: %v %+v", n.Name(), n.Members(), n.Stats())
						}
					}
					return nil
				})
				_ = a
				c.Heal()
				c.Settle()
			}, actorstest.WithNodes(maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})))
		})
	}
}
