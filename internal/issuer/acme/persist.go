package acme

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// persistWay checks the record of dns-persist-01, which the owner adds once for each name. It changes nothing.
type persistWay struct{ s *session }

func (persistWay) kind() string { return acme.ChallengeTypeDNSPersist01 }

func (d persistWay) prepare(ctx context.Context, p proof) error {
	names := p.challenge.IssuerDomainNames
	if len(names) == 0 {
		return d.s.refuse(ctx, "dns-persist-01 of "+p.name, badAnswer{"the CA does not say its issuer domain name"})
	}
	at := p.challenge.DNSPersist01TXTRecordName()
	found, err := d.s.o.Lookup(ctx, at)
	if err != nil {
		return err
	}
	wildcard := strings.HasPrefix(p.name, "*.")
	for _, value := range found {
		if permits(value, names, d.s.account.Location, wildcard, d.s.o.Now()) {
			return nil
		}
	}
	value := p.challenge.DNSPersist01TXTRecordValue(d.s.account, names[0], wildcard)
	return standingRefusal(at, value)
}

// standingRefusal prints a record that is missing, as a line of a zone file.
func standingRefusal(at, value string) issuer.Refusal {
	return issuer.Refusal{Kind: issuer.KindChallenge, Reason: text.OneLine(fmt.Sprintf(
		`a record is missing; add it to the zone and leave it there: %s. IN TXT %q`, at, value), issuer.MaxReason)}
}

func (persistWay) ready(context.Context) (string, error) { return "", nil }
func (persistWay) undo(context.Context) []error          { return nil }

// permits says whether a record allows the account to ask this CA. The record has the form of an issue-value in RFC
// 8659 section 4.2, with accounturi.
func permits(value string, issuers []string, account string, wildcard bool, now time.Time) bool {
	parts := strings.Split(value, ";")
	if !slices.Contains(issuers, pki.CanonicalName(strings.Trim(parts[0], " \t"))) {
		return false
	}
	tags := map[string]string{}
	for _, part := range parts[1:] {
		tag, v, ok := strings.Cut(part, "=")
		tag = strings.ToLower(strings.Trim(tag, " \t"))
		if _, twice := tags[tag]; !ok || twice || tag == "" {
			return false
		}
		tags[tag] = strings.Trim(v, " \t")
	}
	if until, has := tags["persistuntil"]; has {
		n, err := strconv.ParseInt(until, 10, 64)
		if err != nil || now.After(time.Unix(n, 0)) {
			return false
		}
	}
	return tags["accounturi"] == account && (!wildcard || strings.EqualFold(tags["policy"], "wildcard"))
}
