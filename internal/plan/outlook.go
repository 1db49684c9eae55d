package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
)

// Outlook is what was found out about the next order of an ACME CA without placing one.
type Outlook struct {
	Directory error // why the CA would refuse any order; nil: it says nothing against one
	// Fallback is why the second ACME CA would refuse any order; nil: it says nothing against one, or there is none.
	Fallback error
	Ahead    time.Duration // its clock less that of this host; zero also where it does not say its time
	Proofs   []Prospect
}

// Prospect is what was found out about proving a name to the CA.
type Prospect struct {
	Name  string // "": it concerns all names
	Err   error  // why it cannot be proved now; nil: nothing is known against it
	Addrs []netip.Addr
	// Elsewhere says that none of Addrs, to which the name leads, is an address of this host, and Unknown why they are
	// not known. Both are asked only where the CA looks for an answer there.
	Elsewhere bool
	Unknown   error
}

// clockApart is how far the clocks of this host and of the CA may differ before a person is told.
const clockApart = 10 * time.Minute

// outlook reports what a person has to do before the CA can give a certificate.
func outlook(a *assessment, by *pairIssuer) (found finding) {
	o := a.obs.Outlook
	if o == nil {
		return found
	}
	severity := Warning
	for _, p := range a.pairs {
		if p.issuer.acme() && p.wanted {
			severity = max(severity, p.failing())
		}
	}
	say := func(r Reason, s Severity, text, hint string) {
		found.report(Problem{Reason: r, Severity: s, Path: a.cfg.Path, Text: text, Hint: hint})
	}
	const gives = " would give no certificate now: "
	if o.Directory != nil {
		is := refusalOf(o.Directory)
		say(is.reason, severity, by.name()+gives+reasonFor(o.Directory), is.hint)
	}
	if o.Fallback != nil { // it is not needed as long as the first one works
		is := refusalOf(o.Fallback)
		say(is.reason, Warning, "the fallback "+by.fallback()+gives+reasonFor(o.Fallback), atFallback(is.hint))
	}
	if apart := o.Ahead.Abs(); apart > clockApart {
		order := "ahead of"
		if o.Ahead < 0 {
			order = "behind"
		}
		say(ACMEClock, Warning, fmt.Sprintf("the clock of %s is %s %s that of this host", by.name(), span(apart),
			order), refusals[issuer.KindClock].hint)
	}
	for _, p := range o.Proofs {
		name := p.Name
		if name == "" {
			name = strings.Join(a.names, ", ")
		}
		switch {
		case p.Err != nil:
			say(ACMEChallenge, severity, fmt.Sprintf("%s could not validate %s now: %s", by.name(), name,
				reasonFor(p.Err)), proofHint(a.cfg))
		case p.Unknown != nil:
			say(ACMEChallenge, Warning, fmt.Sprintf("the addresses of %s could not be found: %s", name,
				reasonFor(p.Unknown)), "add an A or AAAA record for "+name+", because the CA connects to port 80 of "+
				"its address; or correct dns.resolver")
		case p.Elsewhere:
			say(ACMEChallenge, Notice, fmt.Sprintf("the DNS has %s for %s, and this host does not have that address: "+
				"the CA connects to port 80 there", addresses(p.Addrs), name),
				"if a router or proxy in front of this host has that address, forward its port 80 to this host; "+
					"otherwise correct the A and AAAA records of "+name)
		}
	}
	if p := a.host; a.cfg.Client.Kind == config.ClientSame && (p.owner != Ours || otherIssuer(p) != "") {
		say(WrongPurpose, Notice, "the certificate will be for servers only, like every certificate of a public "+
			"CA: hosts that receive mail from this one will log verify=FAIL",
			"set `client: {issuer: local}` in mailcertd.yaml; `mailcertd check` then prints the lines for the .mc "+
				"file: "+strings.Join(clientLines(a.obs.Certs), " and "))
	}
	return found
}

// refusalOf is the entry of refusals for an error.
func refusalOf(err error) refusal {
	var no issuer.Refusal
	if errors.As(err, &no) && refusals[no.Kind].reason != "" {
		return refusals[no.Kind]
	}
	return refusals[issuer.KindAway]
}

// proofHint is what a person does about a proof that cannot succeed.
func proofHint(cfg config.Config) string {
	const then = "; then run `mailcertd check` again"
	switch c := cfg.Issuer.ACME; c.Challenge {
	case config.ChallengeHTTP:
		if c.HTTP.Webroot != "" {
			return "correct http.webroot in mailcertd.yaml, or make the directory so that root can write into it" + then
		}
		return "if a web server uses port 80, write `http: {webroot: DIR}` with its directory into issuer.acme" + then
	case config.ChallengeCommand:
		return "correct the program, or issuer.acme.command in mailcertd.yaml" + then
	case config.ChallengeDNSPersist:
		return "the record stays in the zone, and proves the name at each renewal"
	}
	return "correct the zone, its server, or the dns section of mailcertd.yaml" + then
}

// reasonFor is the text of an error, of a refusal without the word before it.
func reasonFor(err error) string {
	var no issuer.Refusal
	if errors.As(err, &no) {
		return no.Reason
	}
	return err.Error()
}

func addresses(all []netip.Addr) string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// clientLines are the lines of the .mc file that name the client's pair.
func clientLines(d certdir.Dir) []string {
	return []string{mcLine("confCLIENT_CERT", d.Path, certdir.Client.CertFile),
		mcLine("confCLIENT_KEY", d.Path, certdir.Client.KeyFile)}
}
