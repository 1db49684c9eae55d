package acme

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/text"
)

// At most this many orders for the same names are placed in a day, whoever asks: Let's Encrypt allows five certificates
// for the same names in a week, and locks out a client that keeps on asking.
//
// An order that was asked for and not placed is no order. A CA that answers with errors for hours would otherwise use
// up a day's orders in half an hour. That word is the CA's own, so there is a limit to it too.
const (
	MaxOrders   = 5
	maxAsked    = 5 * MaxOrders
	ordersEvery = 24 * time.Hour
)

// Where nobody knows whether the last order was placed, and the CA has no list of orders, so many may follow each other
// quickly. The others are spread over the day, so that one is left when the CA works again.
const (
	quickOrders = 3
	spreadOver  = ordersEvery / (MaxOrders - quickOrders + 1)
)

// maxPlaced is the largest number of notes of placed orders.
const maxPlaced = 8 * maxAsked

// placedOrder notes that an order is about to be placed.
type placedOrder struct {
	Names []string  `json:"names"`
	At    time.Time `json:"at"`
	// Unplaced says that the CA did not place it.
	Unplaced bool `json:"unplaced,omitempty"`
}

// count notes that an order is about to be placed. It returns a refusal if too many were placed. unsure says that it is
// not known whether the last one was.
func (s ordering) count(unsure bool) error {
	var all []placedOrder
	name := s.file("placed")
	if err := s.load(name, &all); err != nil {
		return err
	}
	now := s.o.Now()
	// A note from the future was made with a wrong clock. It must not count for ever.
	all = slices.DeleteFunc(all, func(p placedOrder) bool {
		return !p.At.After(now.Add(-ordersEvery)) || p.At.After(now.Add(ordersEvery))
	})
	var same, asked []placedOrder
	for _, p := range all {
		if slices.Equal(p.Names, s.want.names) {
			asked = append(asked, p)
			if !p.Unplaced {
				same = append(same, p)
			}
		}
	}
	if n := len(same); unsure && n >= quickOrders && n < MaxOrders && now.Before(same[n-1].At.Add(spreadOver)) {
		return s.uncertain(same, same[n-1].At.Add(spreadOver))
	}
	if n := len(asked); n >= maxAsked && len(same) < MaxOrders {
		return s.uncertain(asked, asked[n-maxAsked].At.Add(ordersEvery))
	}
	if len(same) >= MaxOrders {
		again := same[len(same)-MaxOrders].At.Add(ordersEvery)
		return issuer.Refusal{Kind: issuer.KindRateLimit, NotBefore: again, Reason: fmt.Sprintf(
			"%d orders for %s were placed within 24 hours, and mailcertd places no more of them before %s",
			MaxOrders, strings.Join(s.want.names, ", "), text.Moment(again))}
	}
	all = append(all, placedOrder{Names: s.want.names, At: now.UTC().Truncate(time.Second)})
	return s.save(name, all[max(0, len(all)-maxPlaced):])
}

// uncertain is the refusal to ask for another order before next, after many that the CA may not have placed.
func (s ordering) uncertain(orders []placedOrder, next time.Time) error {
	return issuer.Refusal{Kind: issuer.KindAway, NotBefore: next, Reason: fmt.Sprintf(
		"the CA was asked for %d orders for %s within 24 hours and gave no order, so mailcertd does not ask for "+
			"another one before %s", len(orders), strings.Join(s.want.names, ", "),
		text.Moment(next))}
}

// unplaced notes that the CA did not place the last order that it was asked for.
func (s ordering) unplaced() error {
	return s.changeLast(func(all []placedOrder, n int) []placedOrder {
		all[n].Unplaced = true
		return all
	})
}

// uncount removes the last note of an order that the CA has refused: it was not placed, and must not keep a person who
// has corrected the cause from placing one.
func (s ordering) uncount() error {
	return s.changeLast(func(all []placedOrder, n int) []placedOrder { return slices.Delete(all, n, n+1) })
}

// changeLast saves the notes as change returns them, which is called with the last order for these names that is not
// known to be unplaced. Where there is none, nothing is saved.
func (s ordering) changeLast(change func(all []placedOrder, n int) []placedOrder) error {
	var all []placedOrder
	name := s.file("placed")
	if err := s.load(name, &all); err != nil {
		return err
	}
	for n := len(all) - 1; n >= 0; n-- {
		if slices.Equal(all[n].Names, s.want.names) && !all[n].Unplaced {
			return s.save(name, change(all, n))
		}
	}
	return nil
}
