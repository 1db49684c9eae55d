package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/dns"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// Bounds of what `check` finds out about the next order. All questions are put at the same time.
const (
	outlookIn  = 8 * time.Second
	outlookTry = time.Second // one question to one name server
)

// Examine is Check for a person who wants to know everything that is missing: an ACME CA and the DNS are asked what an
// order would come to. Nothing is ordered or changed.
func (k *Keeper) Examine(ctx context.Context, wish plan.Wish) Result {
	obs := k.observer.observe(ctx)
	obs.Daemon = k.daemon()
	if k.cfg.Issuer.Kind == config.IssuerACME {
		obs.Outlook = k.outlook(ctx, obs)
	}
	r := Result{View: pickup.View{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}}
	if seen, looked := k.tlsa.look(ctx, r.Plan, false); looked {
		r.Observed.State.DANE = obs.State.DANE.Saw(seen)
		r.Plan = plan.Make(k.cfg, r.Observed, wish, k.o.Now())
	}
	return r
}

// outlook finds out what an order would come to.
func (b *base) outlook(ctx context.Context, obs plan.Observed) *plan.Outlook {
	limited, cancel := context.WithTimeout(ctx, outlookIn)
	defer cancel()
	out := &plan.Outlook{}
	x, files, zone := b.acmeClient(nil, false)
	if x.turn().taken() { // another mailcertd holds the port, and the zone has its records
		return out
	}
	var both sync.WaitGroup
	defer both.Wait()
	if b.cfg.Issuer.ACME.Fallback.Directory != "" {
		both.Go(func() { out.Fallback = inTime(limited, b.fallback(limited, obs), "the CA") })
	}
	var offer acme.Offer
	if out.Directory = files; files == nil {
		offer, out.Directory = x.offer(limited)
	}
	out.Directory, out.Ahead = inTime(limited, out.Directory, "the CA"), offer.Ahead
	if zone != nil {
		out.Proofs = []plan.Prospect{{Err: zone}}
		return out
	}
	out.Proofs = b.proofs(limited, obs, x, offer)
	return out
}

// fallback asks the second ACME CA for what is its own: its directory and, with dns-persist, the records for its
// account. Everything else is as with the first.
func (b *base) fallback(ctx context.Context, obs plan.Observed) error {
	x, files, _ := b.acmeClient(nil, true)
	if files != nil {
		return files
	}
	offer, err := x.offer(ctx)
	if err != nil || b.cfg.Issuer.ACME.Challenge != config.ChallengeDNSPersist {
		return err
	}
	if a, err := acme.ReadAccount(x.o.Directory, x.o.Store); err != nil || a.URL == "" {
		return cmp.Or(err, error(issuer.Refusal{Kind: issuer.KindChallenge, Reason: "dns-persist needs a record for " +
			"the account there, and there is none yet: the first order creates it, and its refusal names the record"}))
	}
	for _, p := range b.proofs(ctx, obs, x, offer) {
		if p.Err != nil {
			return p.Err
		}
	}
	return nil
}

// offer asks the directory, which is the same for all challenges, so that those whose settings are wrong are no matter.
func (x *acmeAsker) offer(ctx context.Context) (acme.Offer, error) {
	o := x.o
	o.Challenge, o.Listener = acme.HTTP, acme.Listener{Listen: ":80"}
	ca, err := acme.New(o)
	if err != nil {
		return acme.Offer{}, err
	}
	return ca.Offer(ctx)
}

// proofs tries each name of the certificate, as the configured challenge would.
func (b *base) proofs(ctx context.Context, obs plan.Observed, x *acmeAsker, offer acme.Offer) []plan.Prospect {
	name, _ := plan.HostName(b.cfg, obs.Host)
	if name == "" {
		return nil
	}
	names := append([]string{name}, b.cfg.Host.AltNames...)
	c := b.cfg.Issuer.ACME
	var out []plan.Prospect
	var try func(p *plan.Prospect)
	switch c.Challenge {
	case config.ChallengeCommand:
		return []plan.Prospect{{Err: program(c.Command[0], b.o.UID)}}
	case config.ChallengeHTTP:
		l := acme.Listener{Listen: c.HTTP.Listen, Webroot: c.HTTP.Webroot}
		if err := l.Ready(); err != nil && (b.o.UID == 0 || c.HTTP.Webroot != "") {
			out = append(out, plan.Prospect{Err: err}) // another user may listen on no low port; the daemon is root
		}
		try = func(p *plan.Prospect) { b.elsewhere(ctx, p) }
	default:
		zone, err := b.zoneFor(outlookTry)
		o := x.o
		o.CAs, o.EAB, o.Lookup = nil, acme.EAB{}, zone.lookup // the directory is not asked, and the zone quickly
		ca, wrong := acme.New(o)
		if err = cmp.Or(err, wrong); err != nil {
			return []plan.Prospect{{Err: err}}
		}
		try = func(p *plan.Prospect) {
			if c.Challenge == config.ChallengeDNS {
				p.Err = zone.try(ctx, acme.RecordName(p.Name))
			} else {
				p.Err = ca.Standing(ctx, p.Name, offer.Issuers)
			}
			p.Err = inTime(ctx, p.Err, "the DNS")
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return net.ParseIP(n) != nil })
	found := make([]plan.Prospect, len(names))
	var all sync.WaitGroup
	for n := range found {
		found[n].Name = names[n]
		all.Go(func() { try(&found[n]) })
	}
	all.Wait()
	return append(out, found...)
}

// inTime puts words to the end of the time.
func inTime(ctx context.Context, err error, who string) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return issuer.Refusal{Kind: issuer.KindAway, Reason: who + " does not answer within " + outlookIn.String()}
	}
	return err
}

// elsewhere finds out whether a name leads to this host.
func (b *base) elsewhere(ctx context.Context, p *plan.Prospect) {
	client, err := dns.New(dns.Options{Resolver: b.cfg.DNS.Resolver, Timeout: outlookTry, Now: b.o.Now})
	if err == nil {
		p.Addrs, err = client.Addresses(ctx, p.Name)
	}
	if err != nil {
		p.Unknown = inTime(ctx, err, "the DNS")
		return
	}
	here, err := net.InterfaceAddrs()
	p.Elsewhere = err == nil && !slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(here, func(h net.Addr) bool {
			n, is := h.(*net.IPNet)
			return is && n.IP.Equal(a.AsSlice())
		})
	})
}

// program says why root should not, or could not, run the owner's program.
func program(name string, uid uint32) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("issuer.acme.command: %w", err)
	}
	n := durable.Stat(path)
	switch {
	case n.Err != nil:
		return fmt.Errorf("issuer.acme.command: %w", n.Err)
	case n.UID != 0 && n.UID != uid:
		return fmt.Errorf("issuer.acme.command: %s belongs to user %d, who could change what runs as root: run `chown "+
			"root %s`", path, n.UID, path)
	case n.Mode&0o022 != 0:
		return fmt.Errorf("issuer.acme.command: %s has mode %04o, so others could change what runs as root: run "+
			"`chmod go-w %s`", path, n.Mode.Perm(), path)
	}
	return nil
}
