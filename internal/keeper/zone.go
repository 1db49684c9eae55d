package keeper

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"mailcertd/internal/dns"
	"mailcertd/internal/issuer"
)

// zone adds, removes and reads TXT records in the configured way.
type zone struct{ *dns.Client }

func (b *base) zone() (zone, error) { return b.zoneFor(dns.DefaultTimeout) }

// zoneFor is zone with a bound for one question to one server.
func (b *base) zoneFor(try time.Duration) (zone, error) {
	o, err := b.dnsOptions(true)
	if err != nil {
		return zone{}, issuer.Refusal{Kind: issuer.KindChallenge, Reason: err.Error()}
	}
	o.Timeout = try
	client, err := dns.New(o)
	return zone{client}, err
}

// dnsOptions are the settings `dns`, with the key where records are to be changed.
func (b *base) dnsOptions(changes bool) (dns.Options, error) {
	c := b.cfg.DNS
	o := dns.Options{Server: c.Server, Zone: c.Zone, Resolver: c.Resolver, Now: b.o.Now}
	if c.KeyFile == "" || !changes {
		return o, nil
	}
	var err error
	if o.Key, err = dns.ReadKey(c.KeyFile); err != nil {
		return o, fmt.Errorf("dns.key_file: %w", err)
	}
	return o, nil
}

// recordTTL is how long a resolver may cache a record of a challenge.
const recordTTL = time.Minute

func (z zone) at(ctx context.Context, name, value string, do func(dns.Zone, dns.Record) error) error {
	p, err := z.Place(ctx, name)
	if err != nil {
		return err
	}
	return do(p.Zone, dns.TXT(p.Name, value, recordTTL))
}

// Add implements acme.DNS.
func (z zone) Add(ctx context.Context, name, value string) error {
	return z.at(ctx, name, value, func(in dns.Zone, r dns.Record) error { return z.Client.Add(ctx, in, r) })
}

// Remove implements acme.DNS.
func (z zone) Remove(ctx context.Context, name, value string) error {
	return z.at(ctx, name, value, func(in dns.Zone, r dns.Record) error { return z.Client.Remove(ctx, in, r) })
}

// try asks the server to remove a record that nobody has: it answers as to an addition, and nothing changes.
func (z zone) try(ctx context.Context, name string) error {
	return z.Remove(ctx, name, "mailcertd check: this record is never added")
}

// Wait implements acme.DNS.
func (z zone) Wait(ctx context.Context, name, value string) error {
	return z.at(ctx, name, value, func(in dns.Zone, r dns.Record) error { return z.Client.Wait(ctx, in, r) })
}

// lookup implements acme.Lookup. It returns the TXT records that every server of the zone has.
func (z zone) lookup(ctx context.Context, name string) ([]string, error) {
	p, err := z.Place(ctx, name)
	if err != nil {
		return nil, err
	}
	views, err := z.Lookup(ctx, p.Zone, p.Name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return everywhere(views)
}

// everywhere returns the texts that all servers have which answered. Each address of a server counts as one server. The
// CA may ask any of them, so a record that one of them lacks does not count. It is an error if none answered.
func everywhere(views []dns.View) ([]string, error) {
	have, answers := map[string]int{}, 0
	var failed error
	for _, v := range views {
		if v.Err != nil {
			failed = fmt.Errorf("the DNS: %s", v)
			continue
		}
		answers++
		texts := map[string]bool{}
		for _, r := range v.Records {
			texts[r.Text()] = true
		}
		for text := range texts {
			have[text]++
		}
	}
	if answers == 0 {
		return nil, failed
	}
	maps.DeleteFunc(have, func(_ string, n int) bool { return n < answers })
	return slices.Sorted(maps.Keys(have)), nil
}
