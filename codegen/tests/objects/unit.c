#include "net.h"
/* Another file of the program, which has the header, too. */
#ifdef __cplusplus
extern "C"
#endif
    int grow_twice(net *model);
int grow_twice(net *model) { return net_grow(model) != 0 || net_grow(model) != 0; }
