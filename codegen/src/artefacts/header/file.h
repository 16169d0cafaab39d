/* Files of weights, in memory: safetensors. Eight bytes say how long the header is; the header is JSON, which has for each
   tensor its type, its dims and where its bytes lie behind the header. Nothing that a file says is believed: whatever the
   bytes are, only they are read. */

/* What loading returns besides the number of a tensor: the bytes are no whole safetensors file; the state is in memory that
   cannot be changed. */
enum { BROLGA_NO_FILE = -1, BROLGA_READ_ONLY = -2 };
/* In place of a place: the file has no tensor of this name; it has another type there, or other dims. */
#define BROLGA_MISSING UINT64_MAX
#define BROLGA_OTHER (UINT64_MAX - 1)

/* What is left of a text. */
typedef struct brolga_text {
    const unsigned char *at, *end;
} brolga_text;

/* The next character that is no space; 0 at the end. */
static inline int brolga_peek(brolga_text *text) {
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
        text->at++;
    return text->at < text->end ? *text->at : 0;
}

/* Takes a character, if it is the next one. */
static inline int brolga_take(brolga_text *text, int character) {
    if (brolga_peek(text) != character) return 0;
    text->at++;
    return 1;
}

/* Takes a string; what stands between its quotes, as it is written. */
static inline int brolga_take_string(brolga_text *text, brolga_text *string) {
    if (!brolga_take(text, '"')) return 0;
    string->at = text->at;
    for (; text->at < text->end; text->at++) {
        if (*text->at == '"') {
            string->end = text->at++;
            return 1;
        }
        /* What is escaped does not end it. */
        if (*text->at == '\\' && ++text->at == text->end) return 0;
    }
    return 0;
}

/* Takes the four hexadecimal digits of an escape; 0 where there are none. */
static inline uint32_t brolga_take_hex(brolga_text *string) {
    uint32_t code = 0;
    for (int i = 0; i < 4; i++, string->at++) {
        if (string->at == string->end) return 0;
        int c = *string->at, letter = c | 0x20;
        if (c >= '0' && c <= '9') code = code * 16 + (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f') code = code * 16 + (uint32_t)(letter - 'a' + 10);
        else return 0;
    }
    return code;
}

/* Takes a character behind `\u`: its bytes in UTF-8, and how many; 0 where it is none. */
static inline int brolga_take_unicode(brolga_text *string, unsigned char *bytes) {
    uint32_t code = brolga_take_hex(string);
    if (code >= 0xD800 && code < 0xDC00) {
        if (string->end - string->at < 2 || string->at[0] != '\\' || string->at[1] != 'u') return 0;
        string->at += 2;
        uint32_t low = brolga_take_hex(string);
        if (low < 0xDC00 || low > 0xDFFF) return 0;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[4] = {0, 0xC0, 0xE0, 0xF0};
    bytes[0] = (unsigned char)(first[more] | code >> 6 * more);
    for (int i = 1; i <= more; i++) bytes[i] = (unsigned char)(0x80 | (code >> 6 * (more - i) & 0x3F));
    return code == 0 ? 0 : more + 1;
}

/* Takes a character of a string: its bytes, and how many; 0 where it is none. */
static inline int brolga_take_character(brolga_text *string, unsigned char *bytes) {
    static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    bytes[0] = *string->at++;
    if (bytes[0] != '\\') return 1;
    if (string->at == string->end) return 0;
    int escape = *string->at++;
    if (escape == 'u') return brolga_take_unicode(string, bytes);
    for (int i = 0; escapes[i] != 0; i++) {
        if (escapes[i] == escape) {
            bytes[0] = (unsigned char)meant[i];
            return 1;
        }
    }
    return 0;
}

/* Whether a string is this name. */
static inline int brolga_is(brolga_text string, const char *name) {
    while (string.at < string.end) {
        unsigned char bytes[4];
        int count = brolga_take_character(&string, bytes);
        if (count == 0) return 0;
        for (int i = 0; i < count; i++, name++) {
            if (*name == 0 || (unsigned char)*name != bytes[i]) return 0;
        }
    }
    return *name == 0;
}

/* Takes a whole number. */
static inline int brolga_take_number(brolga_text *text, uint64_t *number) {
    int digits = 0;
    brolga_peek(text);
    for (*number = 0; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++, digits = 1) {
        unsigned digit = *text->at - '0';
        if (*number > (UINT64_MAX - digit) / 10) return 0;
        *number = *number * 10 + digit;
    }
    return digits;
}

/* Takes a list of whole numbers, of which it keeps `most`; how many there are, or -1 where it is none. */
static inline int brolga_take_list(brolga_text *text, uint64_t *numbers, int most) {
    int count = 0;
    if (!brolga_take(text, '[')) return -1;
    if (brolga_take(text, ']')) return 0;
    do {
        uint64_t number;
        if (!brolga_take_number(text, &number)) return -1;
        if (count < most) numbers[count] = number;
        /* One more than can be kept is as wrong as many more. */
        if (count <= most) count++;
    } while (brolga_take(text, ','));
    return brolga_take(text, ']') ? count : -1;
}

/* Takes any value, and forgets it. */
static inline int brolga_skip(brolga_text *text) {
    size_t depth = 0;
    do {
        brolga_text string;
        int c = brolga_peek(text);
        if (c == '"') {
            if (!brolga_take_string(text, &string)) return 0;
            continue;
        }
        int closes = c == '}' || c == ']', opens = c == '{' || c == '[';
        /* The comma behind a value is not part of it. */
        if (c == 0 || (depth == 0 && (closes || c == ','))) return 0;
        text->at++;
        depth += (size_t)opens;
        depth -= (size_t)closes;
        if (depth == 0 && !closes) {
            while (text->at < text->end && *text->at != ',' && *text->at != '}' && *text->at != ']') text->at++;
        }
    } while (depth > 0);
    return 1;
}

/* Takes what a header says of a tensor, and finds the place among so many bytes of data: that of its first byte, or
   BROLGA_OTHER. NULL stands for a tensor that nobody asks for: all of it is there, too. */
static inline int brolga_take_tensor(brolga_text *text, const brolga_tensor *tensor, uint64_t data, uint64_t *place) {
    static const char *const types[] = {"BOOL", "U8", "I32", "I64", "F32", "F64"};
    uint64_t dims[64], bounds[2];
    brolga_text key, type = {NULL, NULL};
    int typed = 0, rank = -1, bounded = 0;
    if (!brolga_take(text, '{')) return 0;
    do {
        if (!brolga_take_string(text, &key) || !brolga_take(text, ':')) return 0;
        if (brolga_is(key, "dtype")) {
            if (!brolga_take_string(text, &type)) return 0;
            typed = 1;
        } else if (brolga_is(key, "shape")) {
            if ((rank = brolga_take_list(text, dims, 64)) < 0) return 0;
        } else if (brolga_is(key, "data_offsets")) {
            if (brolga_take_list(text, bounds, 2) != 2) return 0;
            bounded = 1;
        } else if (!brolga_skip(text)) {
            return 0;
        }
    } while (brolga_take(text, ','));
    if (!brolga_take(text, '}') || !typed || rank < 0 || !bounded) return 0;
    if (bounds[0] > bounds[1] || bounds[1] > data) return 0;
    int same = tensor != NULL && rank == tensor->rank && bounds[1] - bounds[0] == tensor->bytes &&
               brolga_is(type, types[tensor->type]);
    for (int i = 0; same && i < rank; i++) same = dims[i] == tensor->dims[i];
    *place = same ? bounds[0] : BROLGA_OTHER;
    return 1;
}

/* Finds tensors in a file: for each where it begins, in bytes from the beginning, or BROLGA_MISSING or BROLGA_OTHER. What
   else the file has is passed over, if all of it is there. Returns whether the bytes are a file. */
static inline int brolga_find(const void *file, size_t bytes, const brolga_tensor *tensors, size_t count,
                              uint64_t *places) {
    const unsigned char *begin = (const unsigned char *)file;
    uint64_t header = 0;
    if (bytes < 8) return 0;
    for (int i = 0; i < 8; i++) header |= (uint64_t)begin[i] << 8 * i;
    if (header > bytes - 8) return 0;
    brolga_text text = {begin + 8, begin + 8 + header}, name;
    for (size_t i = 0; i < count; i++) places[i] = BROLGA_MISSING;
    if (!brolga_take(&text, '{')) return 0;
    if (!brolga_take(&text, '}')) {
        do {
            size_t i = 0;
            if (!brolga_take_string(&text, &name) || !brolga_take(&text, ':')) return 0;
            while (i < count && !brolga_is(name, tensors[i].name)) i++;
            if (i == count) {
                uint64_t place;
                int passed = brolga_is(name, "__metadata__") || brolga_peek(&text) != '{'
                                 ? brolga_skip(&text)
                                 : brolga_take_tensor(&text, NULL, bytes - 8 - header, &place);
                if (!passed) return 0;
                continue;
            }
            /* A name may be there once. */
            if (places[i] != BROLGA_MISSING) return 0;
            if (!brolga_take_tensor(&text, &tensors[i], bytes - 8 - header, &places[i])) return 0;
            if (places[i] != BROLGA_OTHER) places[i] += 8 + header;
        } while (brolga_take(&text, ','));
        if (!brolga_take(&text, '}')) return 0;
    }
    return brolga_peek(&text) == 0 && text.at == text.end;
}

/* The state in a file of a model's memory, which is used where it lies. Before it stand 64 bytes: what the file is, the key of
   the table of tensors, and the bytes of the state. NULL where the bytes are another file, or lie where nothing is used. */
static inline unsigned char *brolga_state_in(const void *file, size_t bytes, uint64_t key, uint64_t state) {
    const unsigned char *begin = (const unsigned char *)file;
    uint64_t found[2];
    if (begin == NULL || (uintptr_t)begin % 64 != 0 || bytes < 64 || bytes - 64 < state) return NULL;
    memcpy(found, begin + 16, sizeof found);
    if (memcmp(begin, "brolga state 1\n", 16) != 0 || found[0] != key || found[1] != state) return NULL;
    return (unsigned char *)(uintptr_t)begin + 64;
}

/* Takes a state out of a file; what that lacks and is no weight becomes fresh. Returns 0; or the number, counted from 1, of
   the first tensor that the file lacks or has with another type, other dims or bools that are neither 0 nor 1; or
   BROLGA_NO_FILE. Nothing is changed then. `places` has room for one number a tensor. */
static inline int brolga_load(brolga_memory *memory, const brolga_tensor *tensors, size_t count, uint64_t *places,
                              const void *file, size_t bytes) {
    const unsigned char *begin = (const unsigned char *)file;
    if (!brolga_find(file, bytes, tensors, count, places)) return BROLGA_NO_FILE;
    for (size_t i = 0; i < count; i++) {
        if (places[i] == BROLGA_OTHER) return (int)i + 1;
        if (places[i] == BROLGA_MISSING) {
            if (tensors[i].kind <= BROLGA_BUFFER) return (int)i + 1;
        } else if (tensors[i].type == BROLGA_BOOL) {
            if (!brolga_in_range(begin + places[i], BROLGA_BOOL, tensors[i].bytes, 0, 1)) return (int)i + 1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        unsigned char *at = memory->state + tensors[i].offset;
        if (places[i] == BROLGA_MISSING) brolga_refresh(&tensors[i], at);
        else if (tensors[i].bytes > 0) memcpy(at, begin + places[i], tensors[i].bytes);
    }
    memory->ready = 0;
    return 0;
}

/* Writes a state into memory as a file that begins with this header. */
static inline void brolga_save(const brolga_memory *memory, const brolga_tensor *tensors, size_t count,
                               const unsigned char *header, size_t header_bytes, void *file) {
    unsigned char *begin = (unsigned char *)file;
    memcpy(begin, header, header_bytes);
    for (size_t i = 0; i < count; i++) {
        const unsigned char *at = memory->state + tensors[i].offset;
        if (tensors[i].bytes > 0) memcpy(begin + tensors[i].in_file, at, tensors[i].bytes);
    }
}
