package acme

import (
	"context"
	"net/http"
	"time"

	"mailcertd/internal/issuer"
)

// Offer is what a directory says about itself, without an account and without an order.
type Offer struct {
	Issuers []string      // the CA's own domain names, for CAA and dns-persist-01 records
	Ahead   time.Duration // its clock less that of this host; zero also where it does not say its time
}

// Offer reads the directory. The error says why an order would be refused before it is placed: the CA cannot be
// reached, makes accounts for customers alone, or does not offer the profile; or a file of this host is damaged.
func (i *Issuer) Offer(ctx context.Context) (Offer, error) {
	if err := i.usable(); err != nil {
		return Offer{}, err
	}
	s, err := i.open(ctx)
	if err != nil {
		return Offer{}, err
	}
	defer s.close()
	o := Offer{Issuers: s.meta().CAAIdentities}
	if at, err := http.ParseTime(s.wire.last.header.Get("Date")); err == nil {
		o.Ahead = at.Sub(i.o.Now().Truncate(time.Second))
	}
	if s.meta().ExternalAccountRequired && i.o.EAB.KID == "" {
		return o, forCustomers()
	}
	_, err = s.profile()
	return o, err
}

// usable reads the files that an order reads first.
func (i *Issuer) usable() error {
	if _, err := i.storedKey(); err != nil {
		return err
	}
	if _, err := i.Account(); err != nil {
		return err
	}
	if _, err := i.orders(); err != nil {
		return err
	}
	var all []placedOrder
	return i.load(i.file("placed"), &all)
}

// forCustomers is the no of a CA that wants an external account binding.
func forCustomers() issuer.Refusal {
	return issuer.Refusal{Kind: issuer.KindEAB, Final: true, Reason: "the CA creates accounts only for its " +
		"customers: set issuer.acme.eab to the key identifier and the HMAC key that it gives you"}
}
