package plan

// Reason is why something is done or reported. The words are stable: they are in logs, in `check --json` and in the
// manual.
type Reason string

// Reasons that concern the host's certificate and key.
const (
	CertMissing    Reason = "cert-missing"    // there is no host.cert
	CertUnusable   Reason = "cert-unusable"   // host.cert is empty, truncated, DER or garbage
	CertUnreadable Reason = "cert-unreadable" // well-formed, but of a form that mailcertd cannot judge; left alone
	KeyMissing     Reason = "key-missing"     // there is no host.key
	KeyUnusable    Reason = "key-unusable"    // host.key is empty, truncated, DER, garbage or encrypted
	KeyUnreadable  Reason = "key-unreadable"  // well-formed, but of a form that mailcertd cannot judge; left alone
	KeyWeak        Reason = "key-weak"        // a key that OpenSSL refuses at security level 1 or 2
	// a certificate signed with a digest that OpenSSL refuses at level 1 or 2
	CertWeak        Reason = "cert-weak"
	ChainBroken     Reason = "chain-broken"     // what follows the first certificate of host.cert cannot be read
	KeyHasCert      Reason = "key-has-cert"     // our host.key has a certificate inside
	KeyRotation     Reason = "key-rotation"     // the key is older than key.rotate_after
	KeyFamily       Reason = "key-family"       // the keys of both server pairs are, or would be, of one kind
	PairUnwanted    Reason = "pair-unwanted"    // a pair is there that the configuration does not ask for
	Mismatch        Reason = "mismatch"         // host.key and host.cert do not belong together
	Expired         Reason = "expired"          // host.cert's notAfter has passed
	LeafRevoked     Reason = "revoked"          // its CA has revoked host.cert
	BeingWritten    Reason = "being-written"    // a file was written less than a minute ago: a person may be copying it
	NotYetValid     Reason = "not-yet-valid"    // host.cert's notBefore is to come
	WrongName       Reason = "wrong-name"       // host.cert is for other names than the configuration wants
	WrongPurpose    Reason = "wrong-purpose"    // host.cert lacks serverAuth or clientAuth
	IssuerGone      Reason = "issuer-gone"      // host.cert is ours, and no CA that is there issued it
	StanzaSet       Reason = "stanza-set"       // made by the base system's rc.d/sendmail
	InterimSet      Reason = "interim-set"      // our own self-signed certificate, until an issuer signs one
	Due             Reason = "renewal-due"      // a third of the lifetime is left
	Asked           Reason = "asked"            // a person ran `renew`
	AskedKey        Reason = "asked-new-key"    // a person ran `renew --rekey`
	AskedForce      Reason = "asked-force"      // a person ran `renew --force` over a foreign set
	Unfinished      Reason = "unfinished"       // a change that a crash interrupted
	ForeignKept     Reason = "foreign-kept"     // a certificate of another CA: left alone
	ForeignExpiring Reason = "foreign-expiring" // a kept certificate ends soon
	Expiring        Reason = "expiring"         // ours ends soon and could not be renewed
	Held            Reason = "held"             // a restored set that is kept until its renewal
	Installed       Reason = "installed"        // what a person carried here with `mailcertd install`
	NoIssuer        Reason = "no-issuer"        // nobody can issue now: issuer none, or not to be reached
)

// Reasons that concern the trust side: cacert.pem, hash links, dh.param.
const (
	CAFileMissing  Reason = "cacert-missing"    // there is no cacert.pem
	CAFileUnusable Reason = "cacert-unusable"   // cacert.pem is empty, DER or garbage
	CAFileWrong    Reason = "cacert-not-issuer" // cacert.pem lacks a CA generation that is to be trusted
	CAFileStale    Reason = "cacert-stale"      // cacert.pem holds a generation of ours that has ended
	LinkMissing    Reason = "link-missing"      // a CA without its hash link
	LinkWrong      Reason = "link-wrong"        // a hash link that is stale, dangling or in the way
	DHMissing      Reason = "dh-missing"        // there is no dh.param
	DHUnusable     Reason = "dh-unusable"       // dh.param is empty or garbage
	DHGroup        Reason = "dh-group"          // dh.param holds another RFC 7919 group than configured
	DHWeak         Reason = "dh-weak"           // kept parameters below 2048 bits
	DirMissing     Reason = "directory-missing" // a directory is not there
	ModeRefused    Reason = "mode-refused"      // sendmail refuses a mode or an owner
	ModeLoose      Reason = "mode-loose"        // a directory of secrets is open to others
	InTheWay       Reason = "in-the-way"        // a directory or special file where a file belongs
	Unreadable     Reason = "unreadable"        // something could not be read at all
	TrustMissing   Reason = "trust-missing"     // a CA that a foreign cacert.pem lacks got a file of its own
)

// Reasons that concern the CAs of `trust:` and the intermediates of a kept
// certificate, each in a file of its own in trust/.
const (
	TrustAdded      Reason = "trust-added"      // a CA that is wanted gets its file and link
	TrustRemoved    Reason = "trust-removed"    // a CA is wanted no longer: its file and link go
	TrustUnreadable Reason = "trust-unreadable" // a bundle that is missing, or that cannot be read as a whole
	TrustEmpty      Reason = "trust-empty"      // a bundle or directory that holds no CA
	TrustPassed     Reason = "trust-passed"     // certificates in a bundle of a form that mailcertd cannot read
	TrustTooMany    Reason = "trust-too-many"   // more CAs than are linked
)

// Reasons that concern the CA, the clock, the host name and sendmail.
const (
	CAMake       Reason = "ca-make"       // there is no CA yet
	CAUnfinished Reason = "ca-unfinished" // the first boot was interrupted
	// there was a CA and it is gone: an unmounted file system must not breed a new one
	CAMissing       Reason = "ca-missing"
	CADamaged       Reason = "ca-damaged"        // the CA directory cannot be used as it is
	CALocked        Reason = "ca-locked"         // the CA key has a passphrase
	CAFault         Reason = "ca-fault"          // the openssl database needs reconciling
	CAGeneration    Reason = "ca-generation-due" // a third of the CA's life is left
	CAPrune         Reason = "ca-prune"          // an older generation's last leaf has expired
	CAWaiting       Reason = "ca-waiting"        // the next generation waits until every member trusts it
	CASilent        Reason = "ca-silent-host"    // a member has been silent for thirty days
	CARefused       Reason = "ca-refused"        // the CA host shows a CA that none of ours has signed
	CAPassphrase    Reason = "ca-passphrase"     // ca.passphrase_file cannot be used
	CRLDue          Reason = "crl-due"           // a revocation list lacks a revoked certificate, or is due
	CRLStale        Reason = "crl-stale"         // a revocation list that cannot be kept fresh
	InboxDue        Reason = "inbox"             // the directories for requests are missing or open to others
	InboxRequest    Reason = "request"           // a member asks for something
	AccountMissing  Reason = "account-missing"   // there is no such user for members
	IssuerAway      Reason = "issuer-away"       // the CA on the other host could not be asked, or refused
	TrustAsk        Reason = "trust-ask"         // the daily question for the CA's trust set
	CAEnded         Reason = "ca-ended"          // the CA's own certificate has expired
	CAEarly         Reason = "ca-not-yet-valid"  // the CA's own certificate begins in the future
	ClockBehind     Reason = "clock-behind"      // the clock runs behind what was seen before
	ClockAhead      Reason = "clock-ahead"       // the clock is far beyond what was seen before
	ClockImplaus    Reason = "clock-implausible" // before this build, or past the CA's end
	NameUnqualified Reason = "name-unqualified"  // the host name has no domain
	NameUnusable    Reason = "name-unusable"     // empty or localhost: nothing can be certified
	NameChanged     Reason = "name-changed"      // the system's host name is another than the certificate's
	StepFailed      Reason = "step-failed"       // a step of the plan failed, and is tried again later
	StateDamaged    Reason = "state-damaged"     // the state file could not be used
	StateUnwritable Reason = "state-unwritable"  // no state directory: works, but forgets
	CFMissing       Reason = "cf-missing"        // there is no sendmail.cf
	CFNoTLS         Reason = "cf-no-tls"         // sendmail.cf names no TLS files
	CFOther         Reason = "cf-other-files"    // sendmail.cf names other files than ours
	SubmitNoCA      Reason = "submit-no-ca"      // submit.cf names no CA: local submissions log verify=FAIL
	CFProblem       Reason = "cf-problem"        // something in sendmail.cf that could not be read
	SendmailDown    Reason = "sendmail-down"     // no sendmail runs
	PickupPending   Reason = "pickup-pending"    // a running sendmail has not yet picked up what is on the disk
	SendmailUnsafe  Reason = "sendmail-unsafe"   // sendmail runs, but a HUP would end it or hit something else
	Refused         Reason = "sendmail-refuses"  // sendmail would not offer STARTTLS with what is there
	NotifyPending   Reason = "notify-pending"    // a command of `notify` has not succeeded yet
	BackupPrune     Reason = "backup-prune"      // more backups of our own sets than state.keep
	OldKeyDelete    Reason = "old-key-delete"    // a week after the pickup of its successor
	LeftOver        Reason = "left-over"         // what an interrupted write left under its temporary name
	// a copy NAME.bad-TIME of a file that could not be read, or was repaired
	KeptAside     Reason = "kept-aside"
	BackupDamaged Reason = "backup-damaged" // a backup without a manifest that can be read
)
