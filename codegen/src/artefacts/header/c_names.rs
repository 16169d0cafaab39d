//! Names that C's headers and library have given away: a function of ours with such a name would not compile, or take the place
//! of the library's in the whole program.

/// Functions of <math.h> and <complex.h>; each also ends in `f` and in `l`.
const MATH: &str = "acos acosh acospi asin asinh asinpi atan atan2 atan2pi atanh atanpi cabs cacos cacosh canonicalize carg casin casinh \
    catan catanh cbrt ccos ccosh ceil cexp cimag clog compoundn conj copysign cos cosh cospi cpow cproj creal csin csinh \
    csqrt ctan ctanh erf erfc exp exp10 exp10m1 exp2 exp2m1 expm1 fabs fdim floor fma fmax fmaximum fmaximum_mag \
    fmaximum_mag_num fmaximum_num fmin fminimum fminimum_mag fminimum_mag_num fminimum_num fmod frexp fromfp fromfpx \
    hypot ilogb ldexp lgamma llogb llrint llround log log10 log10p1 log1p log2 log2p1 logb logp1 lrint lround modf nan \
    nearbyint nextafter nextdown nexttoward nextup pow pown powr remainder remquo rint rootn round roundeven rsqrt \
    scalbln scalbn sin sinh sinpi sqrt tan tanh tanpi tgamma trunc ufromfp ufromfpx";

/// The other functions of the C standard's library.
const FUNCTIONS: &str = "abort abs aligned_alloc asctime at_quick_exit atexit atof atoi atol atoll atomic_flag_clear \
    atomic_flag_clear_explicit atomic_flag_test_and_set atomic_flag_test_and_set_explicit atomic_signal_fence \
    atomic_thread_fence bsearch btowc c16rtomb c32rtomb c8rtomb call_once calloc clearerr clock cnd_broadcast \
    cnd_destroy cnd_init cnd_signal cnd_timedwait cnd_wait ctime difftime div exit fclose feclearexcept fegetenv \
    fegetexceptflag fegetmode fegetround feholdexcept feof feraiseexcept ferror fesetenv fesetexcept fesetexceptflag \
    fesetmode fesetround fetestexcept fetestexceptflag feupdateenv fflush fgetc fgetpos fgets fgetwc fgetws fopen \
    fprintf fputc fputs fputwc fputws fread free free_aligned_sized free_sized freopen fscanf fseek fsetpos ftell fwide \
    fwprintf fwrite fwscanf getc getchar getenv getpayload gets getwc getwchar gmtime gmtime_r imaxabs imaxdiv isalnum \
    isalpha isblank iscntrl isdigit iseqsig isgraph islower isprint ispunct isspace isupper iswalnum iswalpha iswblank \
    iswcntrl iswctype iswdigit iswgraph iswlower iswprint iswpunct iswspace iswupper iswxdigit isxdigit labs ldiv llabs \
    lldiv localeconv localtime localtime_r longjmp malloc mblen mbrlen mbrtoc16 mbrtoc32 mbrtoc8 mbrtowc mbsinit \
    mbsrtowcs mbstowcs mbtowc memalignment memccpy memchr memcmp memcpy memmove memset memset_explicit mktime \
    mtx_destroy mtx_init mtx_lock mtx_timedlock mtx_trylock mtx_unlock perror printf putc putchar puts putwc putwchar \
    qsort quick_exit raise rand realloc remove rename rewind scanf setbuf setjmp setlocale setpayload setpayloadsig \
    setvbuf signal snprintf sprintf srand sscanf strcat strchr strcmp strcoll strcpy strcspn strdup strerror strfromd \
    strfromf strfroml strftime strlen strncat strncmp strncpy strndup strpbrk strrchr strspn strstr strtod strtof \
    strtoimax strtok strtol strtold strtoll strtoul strtoull strtoumax strxfrm swprintf swscanf system thrd_create \
    thrd_current thrd_detach thrd_equal thrd_exit thrd_join thrd_sleep thrd_yield time timespec_get timespec_getres \
    tmpfile tmpnam tolower totalorder totalordermag toupper towctrans towlower towupper tss_create tss_delete tss_get \
    tss_set ungetc ungetwc vfprintf vfscanf vfwprintf vfwscanf vprintf vscanf vsnprintf vsprintf vsscanf vswprintf \
    vswscanf vwprintf vwscanf wcrtomb wcscat wcschr wcscmp wcscoll wcscpy wcscspn wcsftime wcslen wcsncat wcsncmp \
    wcsncpy wcspbrk wcsrchr wcsrtombs wcsspn wcsstr wcstod wcstof wcstoimax wcstok wcstol wcstold wcstoll wcstombs \
    wcstoul wcstoull wcstoumax wcsxfrm wctob wctomb wctrans wctype wmemchr wmemcmp wmemcpy wmemmove wmemset wprintf \
    wscanf";

/// Types and macros of the C standard's headers, but for those of [`is_sized`].
const OTHERS: &str = "ATOMIC_BOOL_LOCK_FREE ATOMIC_CHAR16_T_LOCK_FREE ATOMIC_CHAR32_T_LOCK_FREE ATOMIC_CHAR_LOCK_FREE ATOMIC_FLAG_INIT \
    ATOMIC_INT_LOCK_FREE ATOMIC_LLONG_LOCK_FREE ATOMIC_LONG_LOCK_FREE ATOMIC_POINTER_LOCK_FREE ATOMIC_SHORT_LOCK_FREE \
    ATOMIC_VAR_INIT ATOMIC_WCHAR_T_LOCK_FREE BOOL_WIDTH BUFSIZ CHAR_BIT CHAR_MAX CHAR_MIN CHAR_WIDTH CLOCKS_PER_SEC \
    CMPLX CMPLXF CMPLXL DBL_DECIMAL_DIG DBL_DIG DBL_EPSILON DBL_HAS_SUBNORM DBL_MANT_DIG DBL_MAX DBL_MAX_10_EXP \
    DBL_MAX_EXP DBL_MIN DBL_MIN_10_EXP DBL_MIN_EXP DBL_TRUE_MIN DECIMAL_DIG E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EADV \
    EAFNOSUPPORT EAGAIN EALREADY EBADE EBADF EBADFD EBADMSG EBADR EBADRQC EBADSLT EBFONT EBUSY ECANCELED ECHILD ECHRNG \
    ECOMM ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDEADLOCK EDESTADDRREQ EDOM EDOTDOT EDQUOT EEXIST EFAULT EFBIG \
    EHOSTDOWN EHOSTUNREACH EHWPOISON EIDRM EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR EISNAM EKEYEXPIRED \
    EKEYREJECTED EKEYREVOKED EL2HLT EL2NSYNC EL3HLT EL3RST ELIBACC ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG ELOOP \
    EMEDIUMTYPE EMFILE EMLINK EMSGSIZE EMULTIHOP ENAMETOOLONG ENAVAIL ENETDOWN ENETRESET ENETUNREACH ENFILE ENOANO \
    ENOBUFS ENOCSI ENODATA ENODEV ENOENT ENOEXEC ENOKEY ENOLCK ENOLINK ENOMEDIUM ENOMEM ENOMSG ENONET ENOPKG ENOPROTOOPT \
    ENOSPC ENOSR ENOSTR ENOSYS ENOTBLK ENOTCONN ENOTDIR ENOTEMPTY ENOTNAM ENOTRECOVERABLE ENOTSOCK ENOTSUP ENOTTY \
    ENOTUNIQ ENXIO EOF EOPNOTSUPP EOVERFLOW EOWNERDEAD EPERM EPFNOSUPPORT EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE \
    EREMCHG EREMOTE EREMOTEIO ERESTART ERFKILL EROFS ESHUTDOWN ESOCKTNOSUPPORT ESPIPE ESRCH ESRMNT ESTALE ESTRPIPE ETIME \
    ETIMEDOUT ETOOMANYREFS ETXTBSY EUCLEAN EUNATCH EUSERS EWOULDBLOCK EXDEV EXFULL EXIT_FAILURE EXIT_SUCCESS \
    FE_ALL_EXCEPT FE_DFL_ENV FE_DIVBYZERO FE_DOWNWARD FE_INEXACT FE_INVALID FE_OVERFLOW FE_TONEAREST FE_TOWARDZERO \
    FE_UNDERFLOW FE_UPWARD FILE FILENAME_MAX FLT_DECIMAL_DIG FLT_DIG FLT_EPSILON FLT_EVAL_METHOD FLT_HAS_SUBNORM \
    FLT_MANT_DIG FLT_MAX FLT_MAX_10_EXP FLT_MAX_EXP FLT_MIN FLT_MIN_10_EXP FLT_MIN_EXP FLT_RADIX FLT_ROUNDS FLT_TRUE_MIN \
    FOPEN_MAX FP_ILOGB0 FP_ILOGBNAN FP_INFINITE FP_NAN FP_NORMAL FP_SUBNORMAL FP_ZERO HUGE_VAL HUGE_VALF HUGE_VALL I \
    INFINITY INT_MAX INT_MIN INT_WIDTH LC_ADDRESS LC_ALL LC_COLLATE LC_CTYPE LC_IDENTIFICATION LC_MEASUREMENT \
    LC_MESSAGES LC_MONETARY LC_NAME LC_NUMERIC LC_PAPER LC_TELEPHONE LC_TIME LDBL_DECIMAL_DIG LDBL_DIG LDBL_EPSILON \
    LDBL_HAS_SUBNORM LDBL_MANT_DIG LDBL_MAX LDBL_MAX_10_EXP LDBL_MAX_EXP LDBL_MIN LDBL_MIN_10_EXP LDBL_MIN_EXP \
    LDBL_TRUE_MIN LLONG_MAX LLONG_MIN LLONG_WIDTH LONG_MAX LONG_MIN LONG_WIDTH L_tmpnam MATH_ERREXCEPT MATH_ERRNO \
    MB_CUR_MAX MB_LEN_MAX NAN NULL ONCE_FLAG_INIT PTRDIFF_MAX PTRDIFF_MIN PTRDIFF_WIDTH RAND_MAX SCHAR_MAX SCHAR_MIN \
    SCHAR_WIDTH SEEK_CUR SEEK_END SEEK_SET SHRT_MAX SHRT_MIN SHRT_WIDTH SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT \
    SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGRTMAX SIGRTMIN SIGSEGV \
    SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU \
    SIGXFSZ SIG_ATOMIC_MAX SIG_ATOMIC_MIN SIG_ATOMIC_WIDTH SIG_DFL SIG_ERR SIG_IGN SIZE_MAX SIZE_WIDTH SNAN TIME_UTC \
    TMP_MAX TSS_DTOR_ITERATIONS UCHAR_MAX UCHAR_WIDTH UINT_MAX UINT_WIDTH ULLONG_MAX ULLONG_WIDTH ULONG_MAX ULONG_WIDTH \
    USHRT_MAX USHRT_WIDTH WCHAR_MAX WCHAR_MIN WCHAR_WIDTH WEOF WINT_MAX WINT_MIN WINT_WIDTH assert atomic_bool \
    atomic_char atomic_char16_t atomic_char32_t atomic_compare_exchange_strong atomic_compare_exchange_strong_explicit \
    atomic_compare_exchange_weak atomic_compare_exchange_weak_explicit atomic_exchange atomic_exchange_explicit \
    atomic_fetch_add atomic_fetch_add_explicit atomic_fetch_and atomic_fetch_and_explicit atomic_fetch_or \
    atomic_fetch_or_explicit atomic_fetch_sub atomic_fetch_sub_explicit atomic_fetch_xor atomic_fetch_xor_explicit \
    atomic_flag atomic_init atomic_int atomic_int_fast16_t atomic_int_fast32_t atomic_int_fast64_t atomic_int_fast8_t \
    atomic_int_least16_t atomic_int_least32_t atomic_int_least64_t atomic_int_least8_t atomic_intmax_t atomic_intptr_t \
    atomic_is_lock_free atomic_llong atomic_load atomic_load_explicit atomic_long atomic_ptrdiff_t atomic_schar \
    atomic_short atomic_size_t atomic_store atomic_store_explicit atomic_uchar atomic_uint atomic_uint_fast16_t \
    atomic_uint_fast32_t atomic_uint_fast64_t atomic_uint_fast8_t atomic_uint_least16_t atomic_uint_least32_t \
    atomic_uint_least64_t atomic_uint_least8_t atomic_uintmax_t atomic_uintptr_t atomic_ullong atomic_ulong \
    atomic_ushort atomic_wchar_t clock_t cnd_t complex div_t double_t errno femode_t fenv_t fexcept_t float_t fpclassify \
    fpos_t imaginary imaxdiv_t isfinite isgreater isgreaterequal isinf isless islessequal islessgreater isnan isnormal \
    isunordered jmp_buf kill_dependency ldiv_t lldiv_t math_errhandling max_align_t mbstate_t memory_order \
    memory_order_acq_rel memory_order_acquire memory_order_consume memory_order_relaxed memory_order_release \
    memory_order_seq_cst mtx_plain mtx_recursive mtx_t mtx_timed noreturn nullptr_t off_t offsetof once_flag pid_t \
    ptrdiff_t sig_atomic_t signbit size_t ssize_t stderr stdin stdout thrd_busy thrd_error thrd_nomem thrd_success \
    thrd_t thrd_timedout time_t tss_t unreachable va_arg va_copy va_end va_list va_start wctrans_t wctype_t wint_t";

/// Functions and objects of POSIX that libraries of C have beside those; and the macros of compilers for it.
const SYSTEM: &str = "accept access alarm bcopy bind brk bzero chdir chmod chown close connect dup dup2 environ execl execle execlp execv \
    execve execvp fcntl fdopen ffs fileno fork fstat fsync ftruncate gamma getcwd getline getpid getppid getuid index \
    ioctl isatty j0 j1 jn kill link linux listen lseek lstat mkdir mkfifo mmap mprotect munmap nanosleep open opendir \
    pause pclose pipe poll popen pread putenv pwrite random read readdir readlink realpath recv recvfrom rindex rmdir \
    sbrk select send sendto setenv shutdown sigaction signgam sleep socket srandom stat strcasecmp strsep strtok_r \
    symlink sync syscall truncate unix unlink unsetenv usleep wait waitpid write y0 y1 yn";

/// Whether a header or the library of C has this name.
pub(crate) fn is_of_c(name: &str) -> bool {
    let one_of = |list: &str, name: &str| list.split_whitespace().any(|known| known == name);
    let base = name.strip_suffix(['f', 'l']).unwrap_or(name);
    one_of(MATH, name)
        || one_of(MATH, base)
        || [FUNCTIONS, OTHERS, SYSTEM].iter().any(|list| one_of(list, name))
        || is_sized(name)
}

/// Whether this may be a macro or a type of C's headers, or of a compiler: no name of anything else then.
pub(crate) fn is_macro_of_c(name: &str) -> bool {
    OTHERS.split_whitespace().any(|known| known == name)
        || is_sized(name)
        || ["linux", "unix"].contains(&name)
}

/// Names of <stdint.h> and <inttypes.h> that say a size: `uint8_t`, `INT_FAST16_MAX`, `PRIu64`.
fn is_sized(name: &str) -> bool {
    let size = |text: &str| {
        let text = text.trim_start_matches('_').to_ascii_uppercase();
        let bits = text.strip_prefix("FAST").or(text.strip_prefix("LEAST")).unwrap_or(&text);
        ["MAX", "PTR"].contains(&bits) || (!bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()))
    };
    let of_type = || name.trim_start_matches('u').strip_prefix("int")?.strip_suffix("_t");
    let of_limit = || {
        let (text, end) = name.trim_start_matches('U').strip_prefix("INT")?.rsplit_once('_')?;
        ["MAX", "MIN", "C", "WIDTH"].contains(&end).then_some(text)
    };
    let of_format = || {
        let text = name.strip_prefix("PRI").or(name.strip_prefix("SCN"))?;
        text.strip_prefix(['b', 'B', 'd', 'i', 'o', 'u', 'x', 'X'])
    };
    [of_type(), of_limit(), of_format()].into_iter().flatten().any(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_c_are_known() {
        let names = "NULL size_t uint8_t INT32_MAX errno malloc memcpy printf abs exp expf expl intptr_t uintmax_t INTMAX_C \
            UINT_LEAST16_MAX INT64_WIDTH PRIu64 SCNxFAST8 PRIXPTR I complex EOF stdin isnan remquo atomic_load E2BIG read \
            environ max_align_t thrd_success";
        for name in names.split_whitespace() {
            assert!(is_of_c(name), "{name}");
        }
        let others = "net lenet5 model infer Exp expo ex uint intx_t uint8 INT_ MAX PRI PRIz8 f l entry_exp";
        for name in others.split_whitespace() {
            assert!(!is_of_c(name), "{name}");
        }
    }
}
