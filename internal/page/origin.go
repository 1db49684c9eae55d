package page

import (
	"strings"
	"time"

	"mailcertd/internal/report"
)

// originWords describes the origin for people; target is the host of issuer.ssh.
func originWords(o report.Origin, target string, carried *time.Time, p *Page) string {
	switch o {
	case report.FromHere:
		return "issued by the CA on this host"
	case report.FromElsewhere:
		return "issued by the CA on " + hostOf(target)
	case report.FromACME:
		return "issued by an ACME CA"
	case report.FromMailcertd:
		return "made by mailcertd, with a CA that no longer exists"
	case report.FromInterim:
		return "interim, self-signed by mailcertd until an issuer can sign"
	case report.FromBaseSystem:
		return "made by the base system (rc.d/sendmail)"
	case report.FromPerson:
		if carried == nil {
			return "installed by hand"
		}
		return "installed by hand on " + p.day(*carried)
	case report.FromUnknown:
		return "of unknown origin"
	case report.FromItself:
		return "self-signed, not by mailcertd"
	}
	return "issued by another CA"
}

// hostOf is the host of an ssh target, user@host.
func hostOf(target string) string { return target[strings.LastIndex(target, "@")+1:] }
