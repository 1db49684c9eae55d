package dane

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Server is the answer of one address of one authoritative server about a name.
type Server struct {
	Name    string   `json:"name"`
	Addr    string   `json:"addr,omitempty"` // with its port; "" where it has no address
	Records []Record `json:"records,omitempty"`
	Away    bool     `json:"away,omitempty"`  // it did not answer; Err says why
	Err     string   `json:"error,omitempty"` // why its records are not known; "": Records has all of them
	// Beside is why it is asked although no NS record of the zone names it: other resolvers may still ask it. "": one
	// does.
	Beside Beside `json:"beside,omitempty"`
	// Left is for how long a Former one has been so, in seconds, by a clock that nobody sets.
	Left int `json:"left,omitempty"`
	// Wild says that its records are those of a wildcard name, which count only where the name has none of its own.
	Wild bool `json:"wildcard,omitempty"`
}

// Beside is why a server is asked that no NS record of the zone names.
type Beside string

// Why a server is asked that no NS record of the zone names.
const (
	Above  Beside = "above"  // the zone above names it
	Former Beside = "former" // it was one of the zone's servers
)

// formerFor is for how long a server is asked that is no longer one of the zone's: resolvers remember NS records of the
// zone above for up to two days.
const formerFor = 48 * time.Hour

// Signed says whether the records of a name are signed (DNSSEC). Mail hosts use signed records alone.
type Signed string

// What is known of the signatures.
const (
	SignedUnknown Signed = ""      // nobody on this host checks signatures
	SignedYes     Signed = "yes"   // a resolver on this host has checked them (AD)
	SignedNo      Signed = "no"    // a resolver on this host says that there are none
	SignedBogus   Signed = "wrong" // the resolver gives no answer, and the name servers do: the signatures are wrong
)

// Name is what the DNS has of one name.
type Name struct {
	Name  string `json:"name"`            // such as _25._tcp.mail.example.org.
	Alias string `json:"alias,omitempty"` // where its CNAME records lead; "": it has none
	// AliasTTL is the longest time to live of these CNAME records, in seconds.
	AliasTTL int       `json:"alias_ttl,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	At       time.Time `json:"at,omitzero"` // when the servers answered; zero: never
	Servers  []Server  `json:"servers,omitempty"`
	Signed   Signed    `json:"signed,omitempty"`
	// SignedWhy is why Signed is not yes.
	SignedWhy string `json:"signed_why,omitempty"`
	// Err is why the last look at the name brought nothing, and Since when the first of these looks was; the rest is
	// what an earlier look saw.
	Err   string    `json:"error,omitempty"`
	Since time.Time `json:"error_since,omitzero"`
}

// Look is what was seen in the DNS.
type Look struct {
	At time.Time
	// Elapsed is how long ago the look before it was, by a clock that nobody sets; zero: not known.
	Elapsed time.Duration
	Took    time.Duration // how long after At the last answer came
	Names   []Name
}

// known reports whether the last look has seen what the name has.
func (n Name) known() bool { return n.Err == "" && !n.At.IsZero() }

// Records are the records that any server of the zone has.
func (n Name) Records() (out []Record) {
	for _, s := range n.Servers {
		if s.Beside != "" {
			continue
		}
		for _, r := range s.Records {
			if !slices.ContainsFunc(out, r.Same) {
				out = append(out, r)
			}
		}
	}
	return out
}

// named reports whether any server that a resolver may ask has a record that the change of a key would break.
func (n Name) named() bool {
	return slices.ContainsFunc(n.Servers, func(s Server) bool {
		return slices.ContainsFunc(s.Records, Record.NamesLeaf)
	})
}

// wild reports whether the name has records of a wildcard name alone, at every server of the zone.
func (n Name) wild() (is bool) {
	for _, s := range n.Servers {
		if s.Beside == "" && len(s.Records) > 0 {
			if is = s.Wild; !is {
				return false
			}
		}
	}
	return is
}

// Has reports whether any server has the record.
func (n Name) Has(r Record) bool { return slices.ContainsFunc(n.Records(), r.Same) }

// lacks says which servers do not have the record, and of which it is not known; both nil: every server has it. An
// address that does not answer is ignored where the same server has the record at another address.
func (n Name) lacks(r Record) (missing, unknown []string) {
	if !n.known() {
		why := n.Err
		if why == "" {
			why = "mailcertd has not looked it up yet"
		}
		return nil, []string{why}
	}
	if len(n.Servers) == 0 {
		return []string{"no name server has a TLSA record of this name"}, nil
	}
	has := map[string]bool{}
	for _, s := range n.Servers {
		has[s.Name] = has[s.Name] || s.Err == "" && slices.ContainsFunc(s.Records, r.Same)
	}
	for _, s := range n.Servers {
		if s.Err == "" && slices.ContainsFunc(s.Records, r.Same) || s.Away && has[s.Name] {
			continue
		}
		if s.Beside != "" && (s.Err != "" || !slices.ContainsFunc(s.Records, Record.usable)) {
			continue // a resolver that asks it finds no record that a key does not fit
		}
		if s.Err != "" {
			unknown = append(unknown, s.String()+": "+s.Err)
		} else {
			missing = append(missing, s.String()+map[Beside]string{Above: ", which only the zone above names,",
				Former: ", which was a server of the zone, and which resolvers may still ask,"}[s.Beside]+
				" does not have it")
		}
	}
	return missing, unknown
}

// String names the server for messages.
func (s Server) String() string {
	if s.Addr == "" {
		return plain(s.Name)
	}
	return plain(s.Name) + " (" + s.Addr + ")"
}

// longest is the longest time to live of the records of any server that has one which a change of a key would break, in
// seconds; zero: none has.
func (n Name) longest() (most int) {
	for _, s := range n.Servers {
		if !slices.ContainsFunc(s.Records, Record.NamesLeaf) {
			continue
		}
		for _, r := range s.Records {
			most = max(most, r.TTL)
		}
	}
	return most
}

// few joins at most three texts.
func few(all []string) string {
	if len(all) > 3 {
		return strings.Join(all[:3], "; ") + fmt.Sprintf("; and %d more", len(all)-3)
	}
	return strings.Join(all, "; ")
}
