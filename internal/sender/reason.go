package sender

import "mailcertd/internal/dane"

// Reason is the cause of a verdict or finding. Its words must not change: `check --dane --json`, the metrics and the
// manual have them.
type Reason string

// Reasons that concern DANE.
const (
	Matched        Reason = "dane-matched"         // a TLSA record fits what the address shows
	Mismatch       Reason = "dane-mismatch"        // no TLSA record fits what the address shows
	BadChain       Reason = "dane-chain"           // a record fits a CA, and the chain is not valid
	BadName        Reason = "dane-name"            // a record fits a CA, and the certificate lacks the host's name
	NoStartTLS     Reason = "dane-no-starttls"     // there are TLSA records, and STARTTLS is not offered
	NoTLS          Reason = "dane-no-tls"          // there are TLSA records, and TLS does not begin
	Unusable       Reason = "dane-unusable"        // there are TLSA records, and mail hosts use none of them
	RecordUnusable Reason = "dane-record-unusable" // mail hosts ignore one of several TLSA records
	NoRecords      Reason = "dane-no-records"      // the names are signed, and there are no TLSA records
	Unsigned       Reason = "dane-unsigned"        // names are not signed, so that DANE does not apply
	MXUnsigned     Reason = "dane-mx-unsigned"     // the MX records are not signed, and those of a host are
	Bogus          Reason = "dane-bogus"           // signatures are wrong or have expired
	NoAnswer       Reason = "dane-no-answer"       // the resolver gives no answer
	Unchecked      Reason = "dane-unchecked"       // nobody on this host checks signatures
	NullMX         Reason = "dane-null-mx"         // the domain takes no mail
	Away           Reason = "dane-away"            // an address does not answer as a mail host does
)

// Reasons that concern MTA-STS and TLSRPT.
const (
	STSWrong Reason = "sts-wrong" // a sender cannot use the MTA-STS record or policy
	STSMX    Reason = "sts-mx"    // the policy does not name a mail host
	STSCert  Reason = "sts-cert"  // a mail host does not show what the policy asks for
	RPTWrong Reason = "tlsrpt-wrong"
)

// Finding is something that is wrong, or worth knowing.
type Finding struct {
	Reason  Reason
	Grade   dane.Grade
	Host    string // "": it concerns the domain
	Address string // "": it concerns the host
	Text    string
	Hint    string // what a person can do; "": nothing
}
