# Takes the place of the ports tree's bsd.port.mk in tests. It does what this port
# uses of USES=go:modules without GO_MODULE, of SUB_FILES and of USE_RC_SUBR. The
# port's own recipes run unchanged. The caller sets WRKDIR, DISTDIR and STAGEDIR.

PREFIX?=	/usr/local
FILESDIR=	${.CURDIR}/files
DISTNAME=	${PORTNAME}-${DISTVERSION}
WRKSRC=		${WRKDIR}/${DISTNAME}
TMPPLIST=	${WRKDIR}/.PLIST

MKDIR=		mkdir -p
INSTALL_DATA=	install -m 0644
INSTALL_MAN=	install -m 444
INSTALL_PROGRAM=install -s -m 555
INSTALL_SCRIPT=	install -m 555

GO_BUILDFLAGS+=	-buildmode=exe -v -trimpath -buildvcs=false -mod=vendor

.if defined(GO_MODULE)
.error GO_MODULE makes the framework fetch every module again
.endif

stage: do-build do-install post-install rc-scripts compress-man

checksum:
	@cd ${DISTDIR} && sed -n 's/^SHA256 (\(.*\)) = \(.*\)/\2  \1/p' ${.CURDIR}/distinfo | sha256sum -c -

extract: checksum
	${MKDIR} ${WRKDIR}
	tar -xzf ${DISTDIR}/${DISTNAME}.tar.gz -C ${WRKDIR}

apply-subs: extract
.for f in ${SUB_FILES} ${USE_RC_SUBR}
	sed -e 's,%%PREFIX%%,${PREFIX},g' ${FILESDIR}/${f}.in > ${WRKDIR}/${f}
.endfor

do-build: extract
.for t in ${GO_TARGET}
	cd ${WRKSRC} && CGO_ENABLED=${CGO_ENABLED} GO111MODULE=on GOFLAGS=-modcacherw \
		GOPROXY=off GOTOOLCHAIN=local go build ${GO_BUILDFLAGS} -o ${WRKDIR}/bin/${t:C/.*://:T} ${t:C/:.*//}
.endfor

do-install: do-build
.for t in ${GO_TARGET}
	${MKDIR} ${STAGEDIR}${t:C/.*://:H}
	${INSTALL_PROGRAM} ${WRKDIR}/bin/${t:C/.*://:T} ${STAGEDIR}${t:C/.*://}
.endfor

post-install: do-install apply-subs

rc-scripts: post-install
	cp ${.CURDIR}/pkg-plist ${TMPPLIST}
	${MKDIR} ${STAGEDIR}${PREFIX}/etc/rc.d
.for f in ${USE_RC_SUBR}
	${INSTALL_SCRIPT} ${WRKDIR}/${f} ${STAGEDIR}${PREFIX}/etc/rc.d/${f}
	echo etc/rc.d/${f} >> ${TMPPLIST}
.endfor

compress-man: rc-scripts
	find ${STAGEDIR}${PREFIX}/share/man -type f -exec gzip -n9 {} +

.PHONY: stage checksum extract apply-subs do-build do-install post-install rc-scripts compress-man
