package acme

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/issuer"
)

// At most this many orders for the same names are placed in a day, whoever asks: Let's Encrypt allows five certificates
// for the same names in a week, and locks out a client that keeps on asking.
const (
	MaxOrders   = 5
	ordersEvery = 24 * time.Hour
)

// maxPlaced is the largest number of notes of placed orders.
const maxPlaced = 8 * MaxOrders

// placedOrder notes that an order is about to be placed.
type placedOrder struct {
	Names []string  `json:"names"`
	At    time.Time `json:"at"`
}

// count notes that an order is about to be placed. It returns a refusal if too many were placed.
func (s *session) count(w want) error {
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
	var same []placedOrder
	for _, p := range all {
		if slices.Equal(p.Names, w.names) {
			same = append(same, p)
		}
	}
	if len(same) >= MaxOrders {
		again := same[len(same)-MaxOrders].At.Add(ordersEvery)
		return issuer.Refusal{Kind: issuer.KindRateLimit, NotBefore: again, Reason: fmt.Sprintf(
			"%d orders for %s were placed within 24 hours, and mailcertd places no more of them before %s",
			MaxOrders, strings.Join(w.names, ", "), again.UTC().Format("2006-01-02 15:04 UTC"))}
	}
	all = append(all, placedOrder{Names: w.names, At: now.UTC().Truncate(time.Second)})
	return s.save(name, all[max(0, len(all)-maxPlaced):])
}

// uncount removes the last note of an order that the CA has refused: it was not placed, and must not keep a person who
// has corrected the cause from placing one.
func (s *session) uncount(w want) error {
	var all []placedOrder
	name := s.file("placed")
	if err := s.load(name, &all); err != nil {
		return err
	}
	for n := len(all) - 1; n >= 0; n-- {
		if slices.Equal(all[n].Names, w.names) {
			return s.save(name, slices.Delete(all, n, n+1))
		}
	}
	return nil
}
