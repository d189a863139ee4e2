/* lsp.h: what the files of `sinter lsp` share, and nobody else includes. One process speaks with the editor; each analysis
 * is a child of it, which reads the documents as they were when it began and answers with an index (lsp_analyse.c).
 * So an analysis can be given up at any time, leaves no memory behind, and can take nothing down with it.
 *
 * Documents belong to the server and are freed when closed; JSON values are counted by jansson. */
#ifndef LSP_H
#define LSP_H

#include "driver/driver.h"

#include <jansson.h>
#include <sys/types.h>

typedef enum Encoding { ENC_UTF16, ENC_UTF8, ENC_UTF32 } Encoding;   /* what a position's character counts */
typedef struct Pos { int64_t line, ch; } Pos;                          /* both from 0 */

typedef struct Doc {
	struct Doc *next;
	char *uri, *path;                /* path: of a file: URI decoded, else the URI itself */
	Str text;
	json_t *version;                 /* as the editor gave it; NULL */
	json_t *index;                   /* of the text as it is; NULL while it is being made */
	json_t *files;                   /* what the last analysis has read: a list of paths; NULL */
	pid_t child; int fd;             /* a running analysis; 0, -1 */
	Str in;                          /* what it has answered so far */
	bool dirty;                      /* the text is newer than index and child */
	int64_t due;                     /* ms: when a dirty document is analysed, if nothing asks earlier */
} Doc;

typedef struct Pending { struct Pending *next; json_t *id, *method, *params; Doc *doc; } Pending;

typedef struct Server {
	Str in;                          /* bytes not yet understood */
	size_t skip;                     /* bytes of a message too large to be read */
	Encoding enc;
	bool related;                    /* the editor shows related information */
	bool started, stopping, done;
	int code;                        /* to exit with */
	Doc *docs;
	Pending *pending;                /* requests that wait for an index */
	json_t *shutdown;                /* id of the `shutdown` that is answered behind them; NULL */
} Server;

enum {   /* error codes of JSON-RPC and LSP 3.17 */
	RPC_PARSE = -32700, RPC_INVALID = -32600, RPC_NO_METHOD = -32601, RPC_BAD_PARAMS = -32602,
	LSP_NOT_STARTED = -32002, LSP_CANCELLED = -32800, LSP_MODIFIED = -32801,
};

/* lsp_wire.c: messages as LSP's base protocol frames them */
/* The next whole message in s->in; NULL: none yet. *bad: it was no JSON. Broken headers are skipped. */
json_t *wire_next(Server *, bool *bad);
void wire_send(json_t *message);                                 /* frees it; the editor being gone is the end of the server */
void wire_result(json_t *id, json_t *result);                    /* frees result */
void wire_error(json_t *id, int code, const char *text);
void wire_notify(const char *method, json_t *params);            /* frees params */

/* lsp_docs.c: documents, positions, URIs */
Doc *doc_find(Server *, const char *uri);
Doc *doc_open(Server *, const char *uri, const char *text, size_t len, json_t *version);
void doc_close(Server *, Doc *);
bool doc_change(Server *, Doc *, json_t *change);                /* one contentChanges member; false if it makes no sense */
void doc_dirty(Server *, const Doc *);                           /* it, and those whose analysis has read it */
Source *doc_read(void *server, Arena *, const char *path);       /* a ReadFile: the editor's text, else the disk's */
size_t pos_offset(const char *text, size_t len, Pos, Encoding);  /* clamped to the line, and to whole characters */
typedef struct Lines { const char *text; size_t len; Vec(uint32_t) at; } Lines;
Lines lines_of(Arena *, const char *text, size_t len);
Pos lines_pos(const Lines *, size_t offset, Encoding);
char *uri_of_path(const char *path);                             /* on the heap, as is */
bool pos_of_json(json_t *, Pos *);
int64_t now_ms(void);

/* lsp_analyse.c: the child */
void analysis_start(Server *, Doc *);
void analysis_drop(Doc *);                                       /* kills a running one */
bool analysis_read(Doc *);                                       /* what the child says; true when doc->index is there */

/* lsp_answer.c: requests about a document, from its index alone */
typedef json_t *Answer(Server *, Doc *, json_t *params);         /* NULL: bad parameters */
Answer *answer_find(const char *method);                         /* NULL: no such request */

#endif
