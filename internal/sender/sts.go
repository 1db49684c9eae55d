package sender

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// STS is what was seen of the domain's MTA-STS (RFC 8461).
type STS struct {
	TXT    Lookup
	Texts  []string // the TXT records of _mta-sts.DOMAIN
	Asked  bool     // the policy was fetched, because there is a record
	Status string   // of the HTTP answer, such as 404 Not Found; "" for none
	Type   string   // its media type
	Body   string
	Err    string // why there is no answer, or not all of it
}

// Mode is the mode of a policy.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // senders do not deliver to a host that fails
	Testing Mode = "testing" // senders report failures, and deliver
	Off     Mode = "none"    // senders ignore the policy
)

// Policy is what a sender reads in the domain's MTA-STS.
type Policy struct {
	Present bool   // there is a record; without one there is no MTA-STS
	ID      string // of the record
	Mode    Mode
	MX      []string // patterns, in lower case
	MaxAge  int      // seconds
	Faults  []string // why senders cannot use it
}

const (
	stsVersion = "STSv1"
	maxSTSAge  = 31557600 // seconds, RFC 8461, section 3.2
	mostQuoted = 80       // octets of a domain's text in a message
)

// read reads the record and the policy.
func (s STS) read() Policy {
	var p Policy
	fault := func(format string, args ...any) { p.Faults = append(p.Faults, fmt.Sprintf(format, args...)) }
	if s.TXT.failed() {
		p.Present = true
		fault("the TXT record could not be looked up: %s", s.TXT.Err)
		return p
	}
	record := only(s.Texts, "v="+stsVersion, fault)
	if p.Present = record != ""; !p.Present {
		p.Present = len(p.Faults) > 0
		return p
	}
	if p.ID = fields(record)["id"]; !isID(p.ID) {
		fault("the id of the TXT record is %s, must be 1 to 32 letters and digits", quote(p.ID))
	}
	switch {
	case s.Err != "":
		fault("the policy cannot be fetched: %s", s.Err)
		return p
	case s.Status != "200 OK" && !strings.HasPrefix(s.Status, "200"):
		fault("the policy cannot be fetched: the answer is %s, must be 200", quote(s.Status))
		return p
	}
	if media, _, _ := strings.Cut(s.Type, ";"); !strings.EqualFold(strings.TrimSpace(media), "text/plain") {
		fault("the policy has the media type %s, must be text/plain", quote(s.Type))
	}
	p.parse(s.Body, fault)
	return p
}

// parse reads the lines of a policy. Of a field other than mx that is there twice, the first one counts; fields that
// are not known are ignored (RFC 8461, section 3.2).
func (p *Policy) parse(body string, fault func(string, ...any)) {
	one := map[string]string{}
	for line := range strings.SplitSeq(body, "\n") {
		key, value, is := strings.Cut(strings.TrimRight(line, "\r"), ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case strings.TrimSpace(line) == "":
		case !is:
			fault("the line %s of the policy must be KEY: VALUE", quote(line))
		case key == "mx":
			p.MX = append(p.MX, pki.CanonicalName(value))
		default:
			if _, twice := one[key]; !twice {
				one[key] = value
			}
		}
	}
	if one["version"] != stsVersion {
		fault("the version of the policy is %s, must be %s", quote(one["version"]), stsVersion)
	}
	switch p.Mode = Mode(one["mode"]); p.Mode {
	case Enforce, Testing, Off:
	default:
		fault("the mode of the policy is %s, must be enforce, testing or none", quote(one["mode"]))
		p.Mode = ""
	}
	age, err := strconv.Atoi(one["max_age"])
	if err != nil || age < 0 || age > maxSTSAge {
		fault("max_age of the policy is %s, must be 0 to %d seconds", quote(one["max_age"]), maxSTSAge)
	}
	p.MaxAge = age
	if len(p.MX) == 0 && p.Mode != Off {
		fault("the policy has no line mx: HOST, so that it names no mail host")
	}
}

// compare compares a policy with what the mail hosts show.
func (d Domain) compare(p Policy) (out []Finding) {
	for _, f := range p.Faults {
		out = append(out, Finding{Reason: STSWrong, Grade: dane.Error, Text: "MTA-STS: " + f,
			Hint: "correct the TXT record _mta-sts." + d.Name + ", or the policy at https://mta-sts." + d.Name +
				"/.well-known/mta-sts.txt; until then senders do as if there were no policy, or use an older one " +
				"that they remember"})
	}
	if len(p.Faults) > 0 || p.Mode != Enforce && p.Mode != Testing {
		return out
	}
	grade, then := dane.Error, "senders that use MTA-STS do not deliver there"
	if p.Mode == Testing {
		grade, then = dane.Warning, "senders that use MTA-STS would not deliver there if the mode were enforce"
	}
	for _, h := range d.Hosts {
		if !slices.ContainsFunc(p.MX, func(m string) bool { return covers(m, h.Name) }) {
			out = append(out, Finding{STSMX, grade, h.Name, "", "no mx line of the MTA-STS policy names this " +
				"host: " + then, "add the line mx: " + h.Name + " to the policy, and then change the id of the TXT " +
				"record"})
			continue
		}
		for _, a := range h.Addresses {
			why, hint := "", "run `mailcertd check` on that host"
			switch {
			case a.Err != "":
				continue
			case !a.Offered:
				why = "STARTTLS is not offered"
			case a.TLSErr != "":
				why = "TLS fails: " + a.TLSErr
			case a.Public != "":
				why, hint = a.Public, "install a certificate of a public CA with the name "+h.Name
			default:
				continue
			}
			out = append(out, Finding{STSCert, grade, h.Name, a.IP, why + ": " + then, hint})
		}
	}
	return out
}

// only returns the one record that begins with the version; others do not count. More than one is a fault.
func only(texts []string, version string, fault func(string, ...any)) string {
	var found []string
	for _, t := range texts {
		if v, _, _ := strings.Cut(t, ";"); strings.TrimSpace(v) == version {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return ""
	case 1:
		return found[0]
	}
	fault("there are %d TXT records with %s, must be one", len(found), version)
	return ""
}

// fields reads the NAME=VALUE pairs of a record.
func fields(record string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(record, ";") {
		if key, value, is := strings.Cut(pair, "="); is {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

func isID(s string) bool {
	return len(s) > 0 && len(s) <= 32 && strings.Trim(s,
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func quote(s string) string { return strconv.Quote(text.Clip(s, mostQuoted)) }
