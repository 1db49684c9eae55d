/*
 * What libssl itself says, for many files in one run. It is opened at run time,
 * so that neither its headers nor the linker's links are needed: cc judge.c -ldl.
 *
 * Each line of standard input is one question, its words separated by tabs:
 *
 *	pair LEVEL CERT KEY	SSL_CTX_use_certificate_file(3), SSL_CTX_use_PrivateKey_file(3)
 *	cas CAFILE		SSL_CTX_load_verify_locations(3), as sendmail's CACertFile
 *	chain PURPOSE TIME LEVEL STORE SHOWN	X509_verify_cert(3); the first of SHOWN is the leaf
 *
 * and each line of standard output its answer: "ok", or the call that failed, a
 * tab and the reason. PURPOSE is sslserver or sslclient, TIME in seconds of Unix.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *ssl, *crypto;

static void *
sym(void *lib, const char *name)
{
	void *p = dlsym(lib, name);

	if (p == NULL) {
		fprintf(stderr, "judge: %s: %s\n", name, dlerror());
		exit(2);
	}
	return p;
}

#define SSLF(ret, name, args) ret (*name) args = (ret (*) args)sym(ssl, #name)
#define CRYF(ret, name, args) ret (*name) args = (ret (*) args)sym(crypto, #name)

static void
refused(const char *call)
{
	CRYF(unsigned long, ERR_get_error, (void));
	CRYF(const char *, ERR_reason_error_string, (unsigned long));
	unsigned long e, last = 0;
	const char *why;

	while ((e = ERR_get_error()) != 0)
		last = e;
	why = last ? ERR_reason_error_string(last) : NULL;
	printf("%s\t%s\n", call, why ? why : "?");
}

static void
clear(void)
{
	CRYF(void, ERR_clear_error, (void));

	ERR_clear_error();
}

static int
nopassword(char *buf, int size, int rw, void *u)
{
	(void)buf, (void)size, (void)rw, (void)u;
	return -1;
}

static void
pair(int level, const char *cert, const char *key)
{
	SSLF(void *, TLS_server_method, (void));
	SSLF(void *, SSL_CTX_new, (void *));
	SSLF(void, SSL_CTX_free, (void *));
	SSLF(void, SSL_CTX_set_security_level, (void *, int));
	SSLF(void, SSL_CTX_set_default_passwd_cb, (void *, int (*)(char *, int, int, void *)));
	SSLF(int, SSL_CTX_use_certificate_file, (void *, const char *, int));
	SSLF(int, SSL_CTX_use_PrivateKey_file, (void *, const char *, int));
	SSLF(int, SSL_CTX_check_private_key, (void *));
	void *ctx = SSL_CTX_new(TLS_server_method());

	clear();
	SSL_CTX_set_security_level(ctx, level);
	SSL_CTX_set_default_passwd_cb(ctx, nopassword);
	/* the order of sendmail's tls.c: the key first */
	if (*key != '\0' && SSL_CTX_use_PrivateKey_file(ctx, key, 1) != 1)
		refused("SSL_CTX_use_PrivateKey_file");
	else if (*cert != '\0' && SSL_CTX_use_certificate_file(ctx, cert, 1) != 1)
		refused("SSL_CTX_use_certificate_file");
	else if (*cert != '\0' && *key != '\0' && SSL_CTX_check_private_key(ctx) != 1)
		refused("SSL_CTX_check_private_key");
	else
		puts("ok");
	SSL_CTX_free(ctx);
}

static void
cas(const char *file)
{
	SSLF(void *, TLS_server_method, (void));
	SSLF(void *, SSL_CTX_new, (void *));
	SSLF(void, SSL_CTX_free, (void *));
	SSLF(int, SSL_CTX_load_verify_locations, (void *, const char *, const char *));
	void *ctx = SSL_CTX_new(TLS_server_method());

	clear();
	if (SSL_CTX_load_verify_locations(ctx, file, NULL) != 1)
		refused("SSL_CTX_load_verify_locations");
	else
		puts("ok");
	SSL_CTX_free(ctx);
}

/* every certificate of a file, as a STACK_OF(X509) */
static void *
stack(const char *file)
{
	CRYF(void *, BIO_new_file, (const char *, const char *));
	CRYF(int, BIO_free, (void *));
	CRYF(void *, PEM_read_bio_X509, (void *, void *, void *, void *));
	CRYF(void *, OPENSSL_sk_new_null, (void));
	CRYF(int, OPENSSL_sk_push, (void *, void *));
	void *st = OPENSSL_sk_new_null(), *bio = BIO_new_file(file, "r"), *x;

	while (bio != NULL && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		OPENSSL_sk_push(st, x);
	if (bio != NULL)
		BIO_free(bio);
	clear();
	return st;
}

static void
chain(const char *purpose, long when, int level, const char *store, const char *shown)
{
	CRYF(void *, X509_STORE_new, (void));
	CRYF(int, X509_STORE_add_cert, (void *, void *));
	CRYF(void, X509_STORE_free, (void *));
	CRYF(void *, X509_STORE_CTX_new, (void));
	CRYF(void, X509_STORE_CTX_free, (void *));
	CRYF(int, X509_STORE_CTX_init, (void *, void *, void *, void *));
	CRYF(void *, X509_STORE_CTX_get0_param, (void *));
	CRYF(int, X509_STORE_CTX_set_default, (void *, const char *));
	CRYF(void, X509_VERIFY_PARAM_set_time, (void *, long));
	CRYF(void, X509_VERIFY_PARAM_set_auth_level, (void *, int));
	CRYF(int, X509_verify_cert, (void *));
	CRYF(int, X509_STORE_CTX_get_error, (void *));
	CRYF(const char *, X509_verify_cert_error_string, (long));
	CRYF(int, OPENSSL_sk_num, (void *));
	CRYF(void *, OPENSSL_sk_value, (void *, int));
	CRYF(void, OPENSSL_sk_free, (void *));
	void *all = stack(shown), *trust = stack(store), *st = X509_STORE_new(), *ctx = X509_STORE_CTX_new();
	int i;

	for (i = 0; i < OPENSSL_sk_num(trust); i++)
		X509_STORE_add_cert(st, OPENSSL_sk_value(trust, i));
	if (OPENSSL_sk_num(all) == 0) {
		puts("read\tno certificate");
	} else {
		X509_STORE_CTX_init(ctx, st, OPENSSL_sk_value(all, 0), all);
		X509_STORE_CTX_set_default(ctx, strcmp(purpose, "sslserver") == 0 ? "ssl_server" : "ssl_client");
		X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), when);
		X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), level);
		if (X509_verify_cert(ctx) == 1)
			puts("ok");
		else
			printf("X509_verify_cert\t%s\n", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(st);
	OPENSSL_sk_free(all);
	OPENSSL_sk_free(trust);
	clear();
}

int
main(int argc, char **argv)
{
	char line[8192], *w[8], *p;
	int n;

	crypto = dlopen(argc > 1 ? argv[1] : "libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
	ssl = dlopen(argc > 2 ? argv[2] : "libssl.so.3", RTLD_NOW | RTLD_GLOBAL);
	if (crypto == NULL || ssl == NULL) {
		fprintf(stderr, "judge: %s\n", dlerror());
		return 2;
	}
	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		for (n = 0, p = line; n < 8 && p != NULL; n++) {
			w[n] = p;
			if ((p = strchr(p, '\t')) != NULL)
				*p++ = '\0';
		}
		if (n == 4 && strcmp(w[0], "pair") == 0)
			pair(atoi(w[1]), w[2], w[3]);
		else if (n == 2 && strcmp(w[0], "cas") == 0)
			cas(w[1]);
		else if (n == 6 && strcmp(w[0], "chain") == 0)
			chain(w[1], atol(w[2]), atoi(w[3]), w[4], w[5]);
		else
			puts("question\tnot understood");
		fflush(stdout);
	}
	return 0;
}
