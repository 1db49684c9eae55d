package sender

import (
	"fmt"
	"net/url"
	"strings"
)

// RPT is what was seen of the domain's TLSRPT record (RFC 8460).
type RPT struct {
	TXT   Lookup
	Texts []string // the TXT records of _smtp._tls.DOMAIN
}

// Reports are where senders report failures of TLS.
type Reports struct {
	Present bool
	To      []string // the URIs of rua=
	Faults  []string // why senders cannot use the record
}

const rptVersion = "TLSRPTv1"

// read reads the record.
func (r RPT) read() (out Reports) {
	fault := func(format string, args ...any) { out.Faults = append(out.Faults, fmt.Sprintf(format, args...)) }
	if r.TXT.failed() {
		out.Present = true
		fault("the TXT record could not be looked up: %s", r.TXT.Err)
		return out
	}
	record := only(r.Texts, "v="+rptVersion, fault)
	if out.Present = record != "" || len(out.Faults) > 0; record == "" {
		return out
	}
	for uri := range strings.SplitSeq(fields(record)["rua"], ",") {
		uri = strings.TrimSpace(uri)
		u, err := url.Parse(uri)
		switch {
		case uri == "":
		case err != nil || u.Scheme != "mailto" && u.Scheme != "https":
			fault("rua has %s, must be mailto: or https: URIs", quote(uri))
		default:
			out.To = append(out.To, uri)
		}
	}
	if len(out.To) == 0 && len(out.Faults) == 0 {
		fault("the record has no rua, so that nobody gets reports")
	}
	return out
}
