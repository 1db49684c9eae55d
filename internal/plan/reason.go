package plan

// Reason is the cause of an action or a problem. Its words must not change: logs, `check --json` and the manual have
// them.
type Reason string

// Reasons that concern the host's certificate and key.
const (
	CertMissing    Reason = "cert-missing"    // there is no host.cert
	CertUnusable   Reason = "cert-unusable"   // host.cert is empty, truncated, DER or garbage
	CertUnreadable Reason = "cert-unreadable" // host.cert may work, but mailcertd cannot read its form; it is kept
	KeyMissing     Reason = "key-missing"     // there is no host.key
	KeyUnusable    Reason = "key-unusable"    // host.key is empty, truncated, DER, garbage or encrypted
	KeyUnreadable  Reason = "key-unreadable"  // host.key may work, but mailcertd cannot read its form; it is kept
	KeyWeak        Reason = "key-weak"        // OpenSSL refuses the key at security level 1 or 2
	// OpenSSL refuses the digest with which the certificate is signed at level 1 or 2
	CertWeak        Reason = "cert-weak"
	ChainBroken     Reason = "chain-broken"     // a certificate after the first one of host.cert cannot be read
	KeyHasCert      Reason = "key-has-cert"     // a host.key that mailcertd made contains a certificate
	KeyRotation     Reason = "key-rotation"     // the key is older than key.rotate_after
	KeyFamily       Reason = "key-family"       // the keys of both server pairs are both RSA or both ECDSA, or would be
	PairUnwanted    Reason = "pair-unwanted"    // an installed pair is not configured
	Mismatch        Reason = "mismatch"         // host.key and host.cert do not belong together
	Expired         Reason = "expired"          // host.cert's notAfter has passed
	LeafRevoked     Reason = "revoked"          // its CA has revoked host.cert
	BeingWritten    Reason = "being-written"    // a file was written less than a minute ago: a person may be copying it
	NotYetValid     Reason = "not-yet-valid"    // host.cert's notBefore is in the future
	WrongName       Reason = "wrong-name"       // host.cert is for other names than the configuration wants
	WrongPurpose    Reason = "wrong-purpose"    // host.cert lacks serverAuth or clientAuth
	IssuerGone      Reason = "issuer-gone"      // our CA issued host.cert, but none of its present generations did
	IssuerChanged   Reason = "issuer-changed"   // another issuer of ours than the configured ACME CA issued host.cert
	StanzaSet       Reason = "stanza-set"       // made by the base system's rc.d/sendmail
	InterimSet      Reason = "interim-set"      // our own self-signed certificate, until an issuer signs one
	Due             Reason = "renewal-due"      // a third of the lifetime is left
	Asked           Reason = "asked"            // a person ran `renew`
	AskedKey        Reason = "asked-new-key"    // a person ran `renew --rekey`
	AskedForce      Reason = "asked-force"      // a person ran `renew --force` over a foreign set
	Unfinished      Reason = "unfinished"       // a change that a crash interrupted
	ForeignKept     Reason = "foreign-kept"     // another CA issued the certificate, so mailcertd keeps it
	ForeignExpiring Reason = "foreign-expiring" // a kept certificate of another CA expires soon
	Expiring        Reason = "expiring"         // a certificate of our CA expires soon and could not be renewed
	Held            Reason = "held"             // a person restored the set; it is kept until its renewal is due
	Installed       Reason = "installed"        // a person brought the files with `mailcertd install`
	NoIssuer        Reason = "no-issuer"        // nobody can issue now: the issuer is none or cannot be reached
)

// Reasons that concern the trust side: cacert.pem, hash links, dh.param.
const (
	CAFileMissing  Reason = "cacert-missing"    // there is no cacert.pem
	CAFileUnusable Reason = "cacert-unusable"   // cacert.pem is empty, DER or garbage
	CAFileWrong    Reason = "cacert-not-issuer" // cacert.pem lacks a CA generation that is to be trusted
	CAFileStale    Reason = "cacert-stale"      // cacert.pem contains an expired generation of our CA
	LinkMissing    Reason = "link-missing"      // a CA has no hash link
	LinkWrong      Reason = "link-wrong"        // a hash link is outdated, dangling or in the way of another
	DHMissing      Reason = "dh-missing"        // there is no dh.param
	DHUnusable     Reason = "dh-unusable"       // dh.param is empty or garbage
	DHGroup        Reason = "dh-group"          // dh.param contains another group than the wanted one
	DHWeak         Reason = "dh-weak"           // a person's parameters, which are kept, have fewer than 2048 bits
	DirMissing     Reason = "directory-missing" // a directory does not exist
	ModeRefused    Reason = "mode-refused"      // sendmail refuses a mode or an owner
	ModeLoose      Reason = "mode-loose"        // keys or other secrets are open to other users
	InTheWay       Reason = "in-the-way"        // a directory or special file has the name of a file
	Unreadable     Reason = "unreadable"        // the system reports an error when a file or directory is read
	TrustMissing   Reason = "trust-missing"     // a cacert.pem that is not ours lacks our CA, which gets its own file
)

// Reasons that concern the CAs of `trust:` and the intermediate CAs of a kept certificate. Each has its own file in
// trust/.
const (
	TrustAdded      Reason = "trust-added"      // a CA is trusted now: its file and link are made
	TrustRemoved    Reason = "trust-removed"    // a CA is not trusted any more: its file and link are removed
	TrustUnreadable Reason = "trust-unreadable" // a bundle is missing or cannot be read completely
	TrustEmpty      Reason = "trust-empty"      // a bundle or directory contains no CA
	TrustPassed     Reason = "trust-passed"     // a bundle contains certificates that mailcertd cannot read
	TrustTooMany    Reason = "trust-too-many"   // the bundles contain more CAs than mailcertd makes links for
)

// Reasons that concern the CA, the clock, the host name and sendmail.
const (
	CAMake       Reason = "ca-make"       // there is no CA yet
	CAUnfinished Reason = "ca-unfinished" // the first boot was interrupted
	// there was a CA and it is gone; an unmounted file system must not lead to a second CA
	CAMissing       Reason = "ca-missing"
	CADamaged       Reason = "ca-damaged"        // the CA directory cannot be used as it is
	CALocked        Reason = "ca-locked"         // the CA key has a passphrase
	CAFault         Reason = "ca-fault"          // files of the openssl database contradict each other
	CAGeneration    Reason = "ca-generation-due" // a third of the CA's life is left
	CAPrune         Reason = "ca-prune"          // an older generation's last leaf has expired
	CAWaiting       Reason = "ca-waiting"        // the next generation waits until every member trusts it
	CASilent        Reason = "ca-silent-host"    // a member has not asked for thirty days
	CARefused       Reason = "ca-refused"        // the CA host sent a CA that no CA trusted here has signed
	CAPassphrase    Reason = "ca-passphrase"     // ca.passphrase_file cannot be used
	CRLDue          Reason = "crl-due"           // a revocation list lacks a revoked certificate, or is due
	CRLStale        Reason = "crl-stale"         // a revocation list cannot be renewed
	InboxDue        Reason = "inbox"             // the directories for requests are missing or open to others
	InboxRequest    Reason = "request"           // a member asks for something
	AccountMissing  Reason = "account-missing"   // there is no such user for members
	IssuerAway      Reason = "issuer-away"       // the CA on the other host could not be asked, or refused
	ACMERateLimit   Reason = "acme-rate-limit"   // too many orders were placed in too short a time
	ACMEChallenge   Reason = "acme-challenge"    // the ACME CA did not find what proves that a name is ours
	ACMEAccount     Reason = "acme-account"      // the ACME CA does not accept the account, or a file of it is damaged
	ACMEClock       Reason = "acme-clock"        // the clock of this host or of the ACME CA is wrong
	ACMEOrder       Reason = "acme-order"        // the ACME CA refuses the order
	ACMETraces      Reason = "acme-traces"       // a record or file of an order is still there
	RootUntrusted   Reason = "root-untrusted"    // the root of an ACME CA's certificate is not trusted here
	AccessSubject   Reason = "access-subject"    // the access map has rules for subjects, which public CAs leave empty
	AccessIssuer    Reason = "access-issuer"     // the access map lets all hosts of a public CA relay
	ACMEFallback    Reason = "acme-fallback"     // the fallback issued the certificate, and not the first ACME CA
	RenewalAsk      Reason = "renewal-ask"       // the question to the ACME CA when to renew
	TrustAsk        Reason = "trust-ask"         // the daily question to the CA host which CAs to trust
	CAEnded         Reason = "ca-ended"          // the CA's own certificate has expired
	CAEarly         Reason = "ca-not-yet-valid"  // the CA's own certificate begins in the future
	ClockBehind     Reason = "clock-behind"      // the clock shows an earlier time than mailcertd has seen before
	ClockAhead      Reason = "clock-ahead"       // the clock is far ahead of the last time that was believed
	ClockImplaus    Reason = "clock-implausible" // the clock is before this build, or after the CA's end
	NameUnqualified Reason = "name-unqualified"  // the host name has no domain
	NameUnusable    Reason = "name-unusable"     // the host name is empty or localhost, so no CA can certify it
	NameChanged     Reason = "name-changed"      // the certificate does not have the system's present host name
	SettingUnused   Reason = "setting-unused"    // a setting in mailcertd.yaml has no effect beside the others
	StepFailed      Reason = "step-failed"       // a step of the plan failed and is tried again later
	StateDamaged    Reason = "state-damaged"     // the state file could not be used
	StateUnwritable Reason = "state-unwritable"  // nothing can be remembered or ordered; all else works
	StateVolatile   Reason = "state-volatile"    // the account at an ACME CA is lost with the next boot
	CFMissing       Reason = "cf-missing"        // there is no sendmail.cf
	CFNoTLS         Reason = "cf-no-tls"         // sendmail.cf names no TLS files
	CFOther         Reason = "cf-other-files"    // sendmail.cf names other files than ours
	SubmitNoCA      Reason = "submit-no-ca"      // submit.cf names no CA: local submissions log verify=FAIL
	CFProblem       Reason = "cf-problem"        // a part of sendmail.cf could not be read
	SendmailDown    Reason = "sendmail-down"     // no sendmail runs
	PickupPending   Reason = "pickup-pending"    // a running sendmail has not yet picked up what is on the disk
	SendmailUnsafe  Reason = "sendmail-unsafe"   // a HUP would end the running sendmail, or reach another process
	Refused         Reason = "sendmail-refuses"  // sendmail would not offer STARTTLS with the files on the disk
	DaemonDown      Reason = "daemon-down"       // something waits for a mailcertd daemon, and none runs
	NotifyPending   Reason = "notify-pending"    // a command of `notify` has not succeeded yet
	BackupPrune     Reason = "backup-prune"      // there are more backups of our own sets than state.keep
	BackupMove      Reason = "backup-move"       // an older version has made backups in another directory
	OldKeyDelete    Reason = "old-key-delete"    // a replaced key is deleted a week after the pickup of the new one
	LeftOver        Reason = "left-over"         // an interrupted write left a file with a temporary name
	// there is a copy NAME.bad-TIME of a file that could not be read, or that was repaired
	KeptAside     Reason = "kept-aside"
	BackupDamaged Reason = "backup-damaged" // a backup has no manifest that can be read
)

// Reasons that concern the TLSA records (DANE).
const (
	TLSAChange   Reason = "tlsa-change"   // the change of a key waits for its TLSA record
	TLSAAdd      Reason = "tlsa-add"      // a person has to add a record
	TLSARemove   Reason = "tlsa-remove"   // a person may remove the record of an old key
	TLSAWrong    Reason = "tlsa-wrong"    // there are records, and none fits an installed key
	TLSAUnsigned Reason = "tlsa-unsigned" // the records are not signed, or nobody here checks it
	TLSABogus    Reason = "tlsa-bogus"    // the signatures of the records are wrong
	TLSAFragile  Reason = "tlsa-fragile"  // a record will not fit the next certificate
	TLSATTL      Reason = "tlsa-ttl"      // the records have another TTL than dane.ttl
	TLSAUnknown  Reason = "tlsa-unknown"  // the DNS could not be asked for the records
	TLSAForeign  Reason = "tlsa-foreign"  // a record is of a key that this host does not know
	TLSAUpdate   Reason = "tlsa-update"   // the records could not be published
)
