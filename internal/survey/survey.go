// Package survey asks what a host that sends mail to a domain asks: the resolver for MX, address and TLSA records,
// every mail host for STARTTLS and its chain, and the web server of MTA-STS. What follows from the answers is decided
// by package sender.
package survey

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/dns"
	"mailcertd/internal/mta"
	"mailcertd/internal/sender"
)

// Options say what is asked, and how.
type Options struct {
	// Domain is the mail domain. "": the domain of Host where it has MX records, otherwise Host itself.
	Domain   string
	Host     string // this host's name, also for EHLO
	Resolver string // see dns.Options
	Timeout  time.Duration
	Now      time.Time
}

const (
	maxHosts     = 20 // mail hosts of a domain; one message of DNS has room for more
	maxAddresses = 8  // of one host
	atOnce       = 8  // dialogues at the same time
	smtpPort     = "25"
)

// survey is one run.
type survey struct {
	Options
	client *dns.Client
	d      sender.Domain
	// roots are the CAs that this system trusts, by which a sender with MTA-STS verifies; nil: there are none.
	roots *x509.CertPool
}

// Domain asks. The error means that the options are wrong or that ctx is done; what could not be found out is part of
// the result.
func Domain(ctx context.Context, o Options) (sender.Domain, error) {
	client, err := dns.New(dns.Options{Resolver: o.Resolver, Timeout: o.Timeout})
	if err != nil {
		return sender.Domain{}, err
	}
	s := &survey{Options: o, client: client}
	s.d = sender.Domain{Now: o.Now}
	if s.roots, err = x509.SystemCertPool(); err != nil {
		s.roots = x509.NewCertPool()
	}
	s.resolver(ctx)
	s.mx(ctx)
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range s.d.Hosts {
		wg.Go(func() { s.host(ctx, &s.d.Hosts[i], slots) })
	}
	if !s.d.Null {
		wg.Go(func() { s.sts(ctx) })
		wg.Go(func() { s.d.RPT.TXT, s.d.RPT.Texts = s.texts(ctx, "_smtp._tls."+s.d.Name) })
	}
	wg.Wait()
	return s.d, ctx.Err()
}

// resolver finds out who answers, and whether it checks signatures: the root zone is signed.
func (s *survey) resolver(ctx context.Context) {
	r, err := s.client.Asked(ctx, ".", dns.TypeSOA)
	s.d.Resolver = sender.Resolver{Addr: r.Resolver, Local: r.Local, Validates: err == nil && r.AD}
}

// ask asks for the records of a name.
func (s *survey) ask(ctx context.Context, name string, t dns.Type) (dns.Reply, sender.Lookup) {
	r, err := s.client.Asked(ctx, name, t)
	var l sender.Lookup
	switch {
	case err != nil:
		l.Err = err.Error()
		if errors.Is(err, dns.ErrBogus) {
			l.Signed = dane.SignedBogus
		}
	case !r.Local || !s.d.Resolver.Validates && !r.AD:
		l.Signed = dane.SignedUnknown
	case r.AD:
		l.Signed = dane.SignedYes
	default:
		l.Signed = dane.SignedNo
	}
	return r, l
}

// mx finds the mail hosts of the domain.
func (s *survey) mx(ctx context.Context) {
	s.d.Name = host(s.Options.Domain)
	var r dns.Reply
	if s.d.Name == "" {
		_, above, _ := strings.Cut(host(s.Host), ".")
		if strings.Contains(above, ".") {
			if r, s.d.MX = s.ask(ctx, above, dns.TypeMX); s.d.MX.Err == "" && len(r.Records) > 0 {
				s.d.Name = above
			}
		}
		s.d.Name = cmp.Or(s.d.Name, host(s.Host))
	}
	if len(r.Records) == 0 {
		r, s.d.MX = s.ask(ctx, s.d.Name, dns.TypeMX)
	}
	if s.d.Resolver.Addr == "" {
		s.d.Resolver.Addr, s.d.Resolver.Local = r.Resolver, r.Local
	}
	if s.d.MX.Err != "" {
		return
	}
	for _, record := range r.Records {
		preference, name, _ := record.MX()
		if name == "." {
			s.d.Null = len(r.Records) == 1
			continue
		}
		h := sender.Host{Name: host(name), Preference: preference}
		if !slices.ContainsFunc(s.d.Hosts, func(o sender.Host) bool { return o.Name == h.Name }) {
			s.d.Hosts = append(s.d.Hosts, h)
		}
	}
	if len(r.Records) == 0 {
		s.d.Implicit, s.d.Hosts = true, []sender.Host{{Name: s.d.Name}}
	}
	slices.SortStableFunc(s.d.Hosts, func(a, b sender.Host) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), strings.Compare(a.Name, b.Name))
	})
	s.d.Hosts = s.d.Hosts[:min(len(s.d.Hosts), maxHosts)]
}

// host finds the addresses and TLSA records of a mail host, and what each address shows.
func (s *survey) host(ctx context.Context, h *sender.Host, slots chan struct{}) {
	v4, l4 := s.ask(ctx, h.Name, dns.TypeA)
	v6, l6 := s.ask(ctx, h.Name, dns.TypeAAAA)
	h.Addrs = join(l4, len(v4.Records) > 0, l6, len(v6.Records) > 0)
	for _, name := range append(v4.Aliases, v6.Aliases...) {
		if !slices.Contains(h.Aliases, host(name)) {
			h.Aliases = append(h.Aliases, host(name))
		}
	}
	if len(h.Aliases) > 0 {
		_, h.Alias = s.ask(ctx, h.Name, dns.TypeCNAME)
	}
	for _, r := range append(v4.Records, v6.Records...) {
		if ip := r.Address(); ip.IsValid() && len(h.Addresses) < maxAddresses {
			h.Addresses = append(h.Addresses, sender.Address{IP: ip.String()})
		}
	}
	for _, name := range h.Candidates() {
		b := sender.Base{Name: name}
		var r dns.Reply
		r, b.Lookup = s.ask(ctx, strings.TrimSuffix(dane.NameOf(name, 25), "."), dns.TypeTLSA)
		for _, record := range r.Records {
			if a, is := record.Association(); is {
				b.Records = append(b.Records, dane.Record{Usage: a.Usage, Selector: a.Selector, Matching: a.Matching,
					Data: a.Data, TTL: int(record.TTL() / time.Second)})
			}
		}
		h.Bases = append(h.Bases, b)
	}
	// A server may have certificates for several names: it is asked for the one whose records count.
	base := cmp.Or(h.Course().Base, h.Name)
	var wg sync.WaitGroup
	for i := range h.Addresses {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			s.address(ctx, &h.Addresses[i], base, h.Name)
		})
	}
	wg.Wait()
}

// join is the lookup of A and AAAA records together: an error only where neither question brought an address.
func join(a sender.Lookup, hasA bool, b sender.Lookup, hasB bool) sender.Lookup {
	switch {
	case a.Err != "" && hasB:
		return b
	case b.Err != "" && hasA, a.Err != "":
		return a
	case b.Err != "":
		return b
	case a.Signed == dane.SignedNo:
		return a
	}
	return b
}

// address does STARTTLS.
func (s *survey) address(ctx context.Context, a *sender.Address, base, name string) {
	shown := mta.Show(ctx, net.JoinHostPort(a.IP, smtpPort), base, cmp.Or(host(s.Host), "localhost"))
	a.Offered, a.Chain, a.Version, a.Cipher = shown.Offered, shown.Chain, shown.Version, shown.Cipher
	switch {
	case shown.Err != nil && !shown.Offered:
		a.Err = shown.Err.Error()
	case shown.Err != nil:
		a.TLSErr = shown.Err.Error()
	case len(a.Chain) > 0:
		a.Public = s.public(a.Chain, name)
	}
}

// public says why a sender with MTA-STS does not accept a chain; "": it does.
func (s *survey) public(chain []*x509.Certificate, name string) string {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: s.roots, Intermediates: between,
		CurrentTime: s.Now}); err != nil {
		return strings.TrimPrefix(err.Error(), "x509: ")
	}
	return ""
}

// texts are the TXT records of a name.
func (s *survey) texts(ctx context.Context, name string) (sender.Lookup, []string) {
	r, l := s.ask(ctx, name, dns.TypeTXT)
	var out []string
	for _, record := range r.Records {
		out = append(out, record.Text())
	}
	return l, out
}

// host is a name in lower case, without a dot at its end.
func host(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
